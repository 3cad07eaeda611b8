//! Pauses between failed pods of one place (a node, a name): a pod that its node refuses again and again must not be made in a hot loop.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

/// After the first failure.
const FIRST: SignedDuration = SignedDuration::from_secs(1);
/// Twice the pause before, up to this.
const LONGEST: SignedDuration = SignedDuration::from_mins(15);

/// The pause that the last failed pod of a place began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pause {
    begun: Timestamp,
    length: SignedDuration,
}

/// What is remembered of the failed pods of one workload, by place: a DaemonSet's nodes, a StatefulSet's names. Whoever plans keeps it
/// from one plan to the next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failures {
    pauses: BTreeMap<String, Pause>,
}

impl Failures {
    /// Forgets the places at which nothing failed for twice the longest pause.
    pub(crate) fn forget(&mut self, now: Timestamp) {
        self.pauses.retain(|_, pause| now.duration_since(pause.begun) <= LONGEST * 2);
    }

    /// When a failed pod of the place may be replaced; `None`: now.
    pub(crate) fn until(&self, place: &str, now: Timestamp) -> Option<Timestamp> {
        let pause = self.pauses.get(place)?;
        Some(pause.begun + pause.length).filter(|until| *until > now)
    }

    /// A failed pod of the place is replaced now.
    pub(crate) fn replaced(&mut self, place: &str, now: Timestamp) {
        let length = self.pauses.get(place).map_or(FIRST, |pause| (pause.length * 2).min(LONGEST));
        self.pauses.insert(place.to_owned(), Pause { begun: now, length });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_a_quarter_of_an_hour_and_are_forgotten() {
        let mut failures = Failures::default();
        let mut now = Timestamp::UNIX_EPOCH;
        let mut pauses = Vec::new();
        for _ in 0..12 {
            let until = failures.until("a", now).unwrap_or(now);
            pauses.push(until.duration_since(now).as_secs());
            now = until;
            failures.replaced("a", now);
        }
        assert_eq!(pauses, [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900]);
        assert_eq!(failures.until("b", now), None, "each place has its own");
        now += LONGEST * 2 + SignedDuration::from_secs(1);
        failures.forget(now);
        failures.replaced("a", now);
        assert_eq!(failures.until("a", now), Some(now + FIRST));
    }
}
