//! `cargo xtask sim`: simulated rollouts under faults, with the figures of R2 and R3.

use anyhow::Result;

use crate::{process::execute, test::cargo};

/// Rollouts that every run of the tests simulates afresh.
const FRESH_ROLLOUTS: u32 = 2_000;

/// What to simulate; `--help` behind `--` tells more.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// How many worlds, of about nine rollouts each.
    #[arg(long)]
    seeds: Option<u64>,
    /// Go on until so many rollouts were simulated.
    #[arg(long, conflicts_with = "seeds")]
    rollouts: Option<u64>,
    /// The first seed; by the time of day unless given.
    #[arg(long)]
    first: Option<u64>,
    /// Simulate this world alone, and print its log.
    #[arg(long)]
    seed: Option<u64>,
    /// With `--seed`: no other fault than the death of the controllers after this write of theirs.
    #[arg(long, requires = "seed")]
    crash_after: Option<u64>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let figures = [
        ("--seeds", options.seeds),
        ("--rollouts", options.rollouts),
        ("--first", options.first),
        ("--seed", options.seed),
        ("--crash-after", options.crash_after),
    ];
    let mut command = cargo();
    command.args(["run", "--quiet", "--release", "--package", "windlass-sim", "--"]);
    for (name, figure) in figures {
        if let Some(figure) = figure {
            command.args([name, &figure.to_string()]);
        }
    }
    execute(&mut command)
}

/// The fresh batch that is a part of `cargo xtask test`.
pub(crate) fn run_fresh() -> Result<()> {
    run(&Options { rollouts: Some(u64::from(FRESH_ROLLOUTS)), ..Options::default() })
}
