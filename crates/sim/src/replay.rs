//! One world again, with all of its log.

use anyhow::Result;
use windlass_sim::{Crash, Keep, Plan};

/// The command that replays a world.
pub(crate) fn command(seed: u64) -> String {
    format!("cargo xtask sim --seed {seed}")
}

/// Simulates a world twice and prints it; whether everything held, and both were the same.
pub(crate) fn run(seed: u64, crash_after: Option<u64>) -> Result<bool> {
    let plan = Plan { seed, keep: Keep::All, crash: crash_after.map_or(Crash::ByChance, Crash::After) };
    let (outcome, again) = (windlass_sim::run(plan)?, windlass_sim::run(plan)?);
    for line in &outcome.log {
        println!("{line}");
    }
    println!(
        "seed {seed}: {} rollouts, {} writes, {} events of watches, log {:016x}",
        outcome.rollouts, outcome.writes, outcome.events, outcome.hash
    );
    if outcome != again {
        println!("it was another world the second time: something in it does not follow from the seed");
        if let Some((first, second)) = outcome.log.iter().zip(&again.log).find(|(first, second)| first != second) {
            println!("first  {first}\nsecond {second}");
        }
    }
    if let Some(violation) = &outcome.violation {
        println!("VIOLATION {violation}");
    }
    Ok(outcome == again && outcome.violation.is_none())
}
