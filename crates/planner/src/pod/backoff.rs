//! Back-off of crashed containers and failed pulls: 10 s, doubling to 300 s, forgotten after 10 quiet minutes.

use jiff::{SignedDuration, Timestamp};

/// First delay, in seconds.
pub const INITIAL_SECONDS: i64 = 10;
/// Longest delay, in seconds.
pub const MAX_SECONDS: i64 = 300;
/// After this long without trouble the next failure counts as the first: twice the longest delay, as upstream.
const FORGET_AFTER_SECONDS: i64 = 2 * MAX_SECONDS;

/// How long to wait after the next failure. The first failure is answered at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backoff {
    /// Delay that applies to a failure now, in seconds; 0 before the first.
    pub seconds: i64,
    /// When `seconds` was last raised.
    pub raised_at: Option<Timestamp>,
}

impl Backoff {
    /// When a container that ended at `failed_at` may be started again; `None`: at once.
    pub fn until(&self, failed_at: Timestamp) -> Option<Timestamp> {
        (self.seconds > 0 && !self.is_forgotten(failed_at)).then(|| failed_at + SignedDuration::from_secs(self.seconds))
    }

    /// The back-off after one more try at `now`, made because of a failure at `failed_at`.
    #[must_use]
    pub fn next(&self, failed_at: Timestamp, now: Timestamp) -> Self {
        let seconds = match self.seconds {
            0 => INITIAL_SECONDS,
            _ if self.is_forgotten(failed_at) => INITIAL_SECONDS,
            seconds => (seconds * 2).min(MAX_SECONDS),
        };
        Self { seconds, raised_at: Some(now) }
    }

    fn is_forgotten(&self, failed_at: Timestamp) -> bool {
        self.raised_at.is_none_or(|raised_at| failed_at.duration_since(raised_at).as_secs() > FORGET_AFTER_SECONDS)
    }
}

/// A delay as Go prints it: `10s`, `1m20s`, `5m0s`.
pub fn go_seconds(seconds: i64) -> String {
    match (seconds / 3600, seconds % 3600 / 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s}s"),
        (h, m, s) => format!("{h}h{m}m{s}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn doubles_to_five_minutes_and_is_forgotten_after_ten() {
        let mut backoff = Backoff::default();
        let mut now = 0;
        let mut delays = Vec::new();
        for _ in 0..8 {
            let failed_at = at(now);
            let until = backoff.until(failed_at).unwrap_or(failed_at);
            delays.push(go_seconds(until.duration_since(failed_at).as_secs()));
            now = until.as_second();
            backoff = backoff.next(failed_at, at(now));
            now += 1;
        }
        assert_eq!(delays, ["0s", "10s", "20s", "40s", "1m20s", "2m40s", "5m0s", "5m0s"]);
        // It ran for longer than ten minutes: the next crash is the first again.
        assert_eq!(backoff.until(at(now + 601)), None);
        assert_eq!(backoff.next(at(now + 601), at(now + 601)).seconds, INITIAL_SECONDS);
    }
}
