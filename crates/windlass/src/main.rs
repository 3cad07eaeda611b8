//! The binary: flags, wiring, signals.

mod demo;
mod reset;
mod up;

use std::process::ExitCode;

use clap::Parser as _;
use windlass_cli::args::{Cli, Verb};

/// Objects are made on one thread and dropped on another all the time: with it, a rollout takes half of what it takes with
/// glibc's.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // This one file is also the holder of the machine's namespaces, the shim of each container and the demo's application.
    // Those must start before there is a second thread.
    windlass_network::holder::run_if_internal();
    if let Some(code) = windlass_oci::internal::run_if_internal().or_else(demo::app::run_if_internal) {
        return code;
    }
    let outcome = match Cli::parse().verb {
        Verb::Up(options) => up::main(&options),
        Verb::Reset(options) => reset::main(&options),
        Verb::Demo(options) => demo::main(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
