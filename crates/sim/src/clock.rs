//! The time of a world: it stands still while anything works, and leaps to the next timer when nothing does.

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// When worlds begin: a round figure, so that logs read well.
const BEGINNING: i64 = 1_900_000_000;

/// Tells the time of the world whose runtime it is asked in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WorldClock {
    started: Instant,
    /// What the clock showed then.
    offset: SignedDuration,
}

impl WorldClock {
    /// A clock that shows the beginning plus `offset` now.
    pub(crate) fn start(offset: SignedDuration) -> Self {
        Self { started: Instant::now(), offset }
    }

    /// Time since the beginning.
    pub(crate) fn elapsed(&self) -> SignedDuration {
        self.offset + SignedDuration::try_from(self.started.elapsed()).unwrap_or(SignedDuration::MAX)
    }

    /// The time of day.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_second(BEGINNING).unwrap_or(Timestamp::UNIX_EPOCH) + self.elapsed()
    }

    /// The time of day in milliseconds since 1970, as the store wants it.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.now().as_millisecond()).unwrap_or(0)
    }
}

impl windlass_apiserver::Clock for WorldClock {
    fn now(&self) -> Timestamp {
        WorldClock::now(self)
    }
}
