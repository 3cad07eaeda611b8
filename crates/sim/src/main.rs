//! `cargo xtask sim`: many worlds, on every core, or one of them with its log.
#![allow(clippy::print_stdout, reason = "what was found goes to whoever asked")]

mod batch;
mod replay;

use std::process::ExitCode;

use clap::Parser;

/// Simulates rollouts under faults, in virtual time.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many worlds.
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// Go on until so many rollouts were simulated.
    #[arg(long, conflicts_with = "seeds")]
    rollouts: Option<u64>,
    /// The first seed; the others follow it. By the time of day unless given.
    #[arg(long)]
    first: Option<u64>,
    /// Simulate this world alone, twice, and print its log.
    #[arg(long)]
    seed: Option<u64>,
    /// A rollout without other faults than the death of the controllers after this write of theirs.
    #[arg(long, requires = "seed")]
    crash_after: Option<u64>,
}

/// The product's own.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.seed {
        Some(seed) => replay::run(seed, arguments.crash_after),
        None => {
            let goal = arguments.rollouts.map_or(batch::Goal::Worlds(arguments.seeds), batch::Goal::Rollouts);
            batch::run(goal, arguments.first.unwrap_or_else(batch::fresh_seed))
        }
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
