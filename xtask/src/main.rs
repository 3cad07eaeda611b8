//! `cargo xtask`: what is done to the project rather than by it.
#![allow(clippy::print_stdout, reason = "a chore's result goes to its caller")]

mod bench;
mod fixtures;
mod install;
mod kubectl;
mod process;
mod schema;
mod sim;
mod test;
mod tidy;

use clap::Parser;

/// Chores of the project.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
enum Task {
    /// Installs what the tests need, and runs them all.
    Test(test::Options),
    /// Holds the crate walls, file lengths and opening lines.
    Tidy(tidy::Options),
    /// Measures the figures of the project.
    Bench(bench::Options),
    /// Simulates rollouts under faults.
    Sim(sim::Options),
    /// Makes the images of the scenarios and pushes them into a local registry.
    Fixtures(fixtures::Options),
    /// Writes the table of API facts that windlass-api embeds.
    Schema(schema::Options),
}

fn main() -> std::process::ExitCode {
    match run(Task::parse()) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> anyhow::Result<()> {
    match task {
        Task::Test(options) => test::run(&options),
        Task::Tidy(options) => tidy::run(&options),
        Task::Bench(options) => bench::run(&options),
        Task::Sim(options) => sim::run(&options),
        Task::Fixtures(options) => fixtures::run(&options),
        Task::Schema(options) => schema::run(&options),
    }
}
