//! The `plenary` binary.

use clap::Parser;
use plenary::cli::Cli;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    plenary::cli::run(Cli::parse())
}
