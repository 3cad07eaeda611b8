//! How bad things are in one world: each has its own mix, or every world would be the same average of everything.

use super::Crash;
use crate::chance::Chance;

/// Rates are in a thousand, times in milliseconds at most.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Weather {
    /// Writes at which the controllers are killed.
    pub(crate) deaths: u64,
    /// Requests without an answer, done or not.
    pub(crate) losses: u64,
    /// Writes that are refused: conflict, internal error, too many requests, timeout.
    pub(crate) refusals: u64,
    /// Pieces of a watch at which the connection is cut.
    pub(crate) cuts: u64,
    /// Time a request takes there, and back.
    pub(crate) latency_ms: u64,
    /// Time by which a watch lags; drawn for each watch, so that kinds overtake each other.
    pub(crate) lag_ms: u64,
    /// Time a pod takes to become ready.
    pub(crate) slowness_ms: u64,
    /// Pods that become unready for a while.
    pub(crate) lapses: u64,
    /// Time a pod takes to go.
    pub(crate) parting_ms: u64,
    /// Whether nodes fall silent and come back, are removed and added.
    pub(crate) nodes_change: bool,
    /// Whether the store forgets its history again and again.
    pub(crate) forgets: bool,
}

impl Weather {
    /// The weather of a world.
    pub(crate) fn of(crash: Crash, chance: &Chance) -> Self {
        // Each is absent from some worlds: a fault that is always there hides what happens without it.
        let rate = |choices: &[u64]| *chance.pick(choices);
        if crash != Crash::ByChance {
            return Self { slowness_ms: 20, parting_ms: 20, ..Self::default() };
        }
        Self {
            deaths: rate(&[0, 0, 5, 20, 60]),
            losses: rate(&[0, 0, 10, 50, 150]),
            refusals: rate(&[0, 0, 20, 100, 250]),
            cuts: rate(&[0, 0, 20, 100]),
            latency_ms: rate(&[0, 2, 50, 1_000]),
            lag_ms: rate(&[0, 0, 20, 300, 3_000]),
            slowness_ms: rate(&[0, 50, 2_000, 20_000]),
            lapses: rate(&[0, 0, 0, 100, 400]),
            parting_ms: rate(&[0, 50, 2_000]),
            nodes_change: chance.hits(150),
            forgets: chance.hits(250),
        }
    }
}
