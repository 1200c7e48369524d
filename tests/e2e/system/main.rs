//! The whole: the demo, several processes, and processes that die.

mod crash;
mod demo;
mod fixtures;
mod scale;
