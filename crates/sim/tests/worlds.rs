//! A few worlds: `cargo xtask sim` runs many.

use windlass_sim::{Crash, Keep, Outcome, Plan, run};

/// Simulates a world in which everything must hold.
fn holds(seed: u64, crash: Crash) -> Outcome {
    let outcome = run(Plan { seed, keep: Keep::Tail, crash }).expect("a world can be made");
    let log = outcome.log.join("\n");
    assert_eq!(outcome.violation, None, "cargo xtask sim --seed {seed}, {crash:?}\n{log}");
    outcome
}

#[test]
fn the_same_seed_is_the_same_world() {
    // One world may be short, whose user deletes everything early; all of them together are not.
    let (mut events, mut lines) = (0, 0);
    for seed in 1..=6 {
        let (first, second) = (holds(seed, Crash::ByChance), holds(seed, Crash::ByChance));
        events += first.events;
        lines += first.log.len();
        assert_eq!(first, second);
    }
    assert!(events > 600 && lines > 300, "little happened: {events} events, {lines} lines");
    assert_ne!(holds(1, Crash::ByChance).hash, holds(2, Crash::ByChance).hash);
}

/// Not sampled: the controllers of a rollout of 3, and of the next one, are killed after their first write, after their second, and
/// so on to the last. The three seeds are of the three kinds of workload.
#[test]
fn a_rollout_survives_the_death_of_the_controllers_between_any_two_writes() {
    for seed in 1..=3 {
        let undisturbed = holds(seed, Crash::Never);
        assert!(undisturbed.writes > 30, "{undisturbed:?}");
        for write in 1..=undisturbed.writes {
            let outcome = holds(seed, Crash::After(write));
            assert_ne!(outcome.hash, undisturbed.hash);
        }
    }
}
