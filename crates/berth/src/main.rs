//! The `berth` command: server and tools in one binary.

mod api;
mod cli;
mod compare;
mod credentials;
mod image;
mod layout;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run()
}
