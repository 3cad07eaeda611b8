//! What goes wrong between a part and the API server, and the line it goes wrong on.

mod line;
mod weather;

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

pub(crate) use self::{line::Line, weather::Weather};
use crate::chance::Chance;

/// When the controllers are killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// As chance has it.
    ByChance,
    /// Once, after this write of theirs, counted from 1, and before anything else of theirs.
    After(u64),
    /// Never, and nothing else goes wrong either.
    Never,
}

/// What becomes of a request that changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteFate {
    /// It is done, and answered.
    Done,
    /// It is refused with this code and reason.
    Refused(u16, &'static str),
    /// It is not done, and there is no answer.
    LostBefore,
    /// It is done, and there is no answer.
    LostAfter,
    /// Whoever sent it is killed before it is done.
    DeathBefore,
    /// Whoever sent it is killed after it is done and before it knows.
    DeathAfter,
}

/// The faults of one world.
#[derive(Debug)]
pub(crate) struct Faults {
    pub(crate) weather: Weather,
    crash: Crash,
    chance: Chance,
    calm: AtomicBool,
    writes: AtomicU64,
}

impl Faults {
    pub(crate) fn new(crash: Crash, weather: Weather, chance: Chance) -> Arc<Self> {
        Arc::new(Self { weather, crash, chance, calm: AtomicBool::new(false), writes: AtomicU64::new(0) })
    }

    /// From now on nothing goes wrong any more.
    pub(crate) fn stop(&self) {
        self.calm.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    /// Writes of the controllers so far.
    pub(crate) fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    /// Decides about the next write of the controllers. A `POST` that is refused as a conflict would claim that the name is taken.
    fn fate(&self, may_conflict: bool) -> WriteFate {
        let number = self.writes.fetch_add(1, Ordering::Relaxed) + 1;
        let weather = &self.weather;
        match self.crash {
            _ if self.is_calm() => WriteFate::Done,
            Crash::After(wanted) if wanted == number => WriteFate::DeathAfter,
            Crash::After(_) | Crash::Never => WriteFate::Done,
            Crash::ByChance if self.chance.hits(weather.deaths) => {
                *self.chance.pick(&[WriteFate::DeathBefore, WriteFate::DeathAfter])
            }
            Crash::ByChance if self.chance.hits(weather.losses) => {
                *self.chance.pick(&[WriteFate::LostBefore, WriteFate::LostAfter])
            }
            Crash::ByChance if self.chance.hits(weather.refusals) => {
                const REFUSALS: [(u16, &str); 4] =
                    [(409, "Conflict"), (500, "InternalError"), (429, "TooManyRequests"), (504, "Timeout")];
                let (code, reason) = *self.chance.pick(if may_conflict { &REFUSALS } else { &REFUSALS[1..] });
                WriteFate::Refused(code, reason)
            }
            Crash::ByChance => WriteFate::Done,
        }
    }
}
