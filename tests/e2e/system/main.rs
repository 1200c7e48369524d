//! The whole: the demo, several processes, and processes that die.

mod crash;
mod demo;
mod disk_load;
mod disk_stress;
mod fixtures;
mod scale;
