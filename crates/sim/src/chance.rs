//! All chance of a world: streams of numbers that follow from one seed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// The golden ratio in 64 bits: the step of SplitMix64 (Steele, Lea, Flood 2014), whose streams do not meet in practice.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// A stream of numbers. Clones draw from the same stream.
#[derive(Debug, Clone)]
pub(crate) struct Chance {
    state: Arc<AtomicU64>,
}

fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

impl Chance {
    /// The stream of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: Arc::new(AtomicU64::new(mix(seed ^ STEP))) }
    }

    /// Another stream, which draws nothing from this one from now on.
    pub(crate) fn fork(&self) -> Self {
        Self::new(self.bits())
    }

    /// What a text comes to in this stream, without drawing from it: the same text, the same number.
    pub(crate) fn of(seed: u64, text: &str) -> Self {
        Self::new(text.bytes().fold(seed, |state, byte| mix(state ^ u64::from(byte))))
    }

    /// The next 64 bits.
    pub(crate) fn bits(&self) -> u64 {
        mix(self.state.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP))
    }

    /// A number below `limit`, which is at least 1.
    pub(crate) fn below(&self, limit: u64) -> u64 {
        self.bits() % limit.max(1)
    }

    /// Whether something happens that happens so often in a thousand times.
    pub(crate) fn hits(&self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// One of these, of which there is at least one.
    pub(crate) fn pick<'a, T>(&self, choices: &'a [T]) -> &'a T {
        let index = usize::try_from(self.below(choices.len() as u64)).unwrap_or(0);
        &choices[index]
    }

    /// A time up to so many milliseconds. Short ones are as likely as long ones, whatever the scale.
    pub(crate) fn up_to_ms(&self, most_ms: u64) -> Duration {
        if most_ms == 0 {
            return Duration::ZERO;
        }
        let scale = most_ms >> self.below(u64::from(most_ms.ilog2()) + 1);
        Duration::from_millis(self.below(scale + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_stream() {
        let draw = |seed| {
            let chance = Chance::new(seed);
            (0..4).map(|_| chance.bits()).collect::<Vec<u64>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn times_stay_below_their_limit_and_reach_it() {
        let chance = Chance::new(7);
        let longest = (0..10_000).map(|_| chance.up_to_ms(50).as_millis()).max();
        assert_eq!(longest, Some(50));
        assert_eq!(chance.up_to_ms(0), Duration::ZERO);
    }
}
