//! The command as its users run it: a process with arguments, variables and files.

mod convert;
mod credentials;
mod layouts;
mod log;
mod support;
