//! Many worlds, as many at once as there are cores: each lives on one thread.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
use windlass_sim::{Crash, Keep, Outcome, Plan};

use crate::replay;

/// Failed worlds whose logs are printed; the rest are named.
const PRINTED: usize = 3;
/// Lines of such a log.
const LINES: usize = 60;

/// Rollouts after which a long run says how far it is.
const TOLD_EVERY: u64 = 50_000;

/// When it is enough.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    /// So many worlds.
    Worlds(u64),
    /// So many rollouts.
    Rollouts(u64),
}

/// What all worlds came to.
#[derive(Debug, Default)]
struct Sum {
    begun: u64,
    worlds: u64,
    rollouts: u64,
    writes: u64,
    events: u64,
    failed: Vec<Outcome>,
}

impl Sum {
    /// The next world, unless it is enough.
    fn next(&mut self, goal: Goal) -> Option<u64> {
        let enough = match goal {
            Goal::Worlds(worlds) => self.begun >= worlds,
            Goal::Rollouts(rollouts) => self.rollouts >= rollouts,
        };
        self.begun += 1;
        (!enough).then(|| self.begun - 1)
    }

    fn add(&mut self, outcome: Outcome) {
        self.worlds += 1;
        let told = self.rollouts / TOLD_EVERY;
        self.rollouts += outcome.rollouts;
        if self.rollouts / TOLD_EVERY > told {
            println!("{} rollouts so far, {} violations", self.rollouts, self.failed.len());
        }
        self.writes += outcome.writes;
        self.events += outcome.events;
        if outcome.violation.is_some() {
            // At once: whoever ends a long run early has it all the same.
            print_violation(&outcome);
            self.failed.push(outcome);
        }
    }
}

/// A seed that nobody has tried before.
pub(crate) fn fresh_seed() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs() * 1_000
}

/// Simulates worlds until the goal is reached; whether everything held.
pub(crate) fn run(goal: Goal, first: u64) -> Result<bool> {
    let sum = Mutex::new(Sum::default());
    let started = Instant::now();
    let work = || -> Result<()> {
        loop {
            let next = sum.lock().unwrap_or_else(PoisonError::into_inner).next(goal);
            let Some(number) = next else { return Ok(()) };
            let plan = Plan { seed: first.wrapping_add(number), keep: Keep::Tail, crash: Crash::ByChance };
            let outcome = windlass_sim::run(plan)?;
            sum.lock().unwrap_or_else(PoisonError::into_inner).add(outcome);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        running.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a world panicked"))))
    })?;
    let sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    print(&sum, first, started.elapsed());
    Ok(sum.failed.is_empty())
}

fn print_violation(outcome: &Outcome) {
    println!("VIOLATION {}\n  {}", outcome.violation.as_deref().unwrap_or_default(), replay::command(outcome.seed));
}

fn print(sum: &Sum, first: u64, took: Duration) {
    for outcome in sum.failed.iter().take(PRINTED) {
        for line in outcome.log.iter().rev().take(LINES).rev() {
            println!("{line}");
        }
        println!();
    }
    sum.failed.iter().for_each(print_violation);
    let a_minute = sum.rollouts as f64 * 60.0 / took.as_secs_f64().max(0.001);
    println!(
        "{} rollouts in {} worlds from seed {first} on, {} writes, {} events of watches without gap or duplicate, {} violations, \
         {a_minute:.0} rollouts a minute",
        sum.rollouts,
        sum.worlds,
        sum.writes,
        sum.events,
        sum.failed.len()
    );
}
