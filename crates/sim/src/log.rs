//! What happened in a world, line by line: the same seed writes the same lines.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::clock::WorldClock;

/// Lines that are kept of a world whose log nobody asked for: what led to a violation is rarely further back.
const TAIL_LINES: usize = 120;

/// FNV-1a: not secure, and fast enough to take every line of a million rollouts.
const FNV_BASIS: u64 = 0xCBF2_9CE4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01B3;

/// How much of a log is kept; all of it is hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The last lines.
    Tail,
    /// Everything.
    All,
}

/// The log of one world.
#[derive(Debug)]
pub(crate) struct Log {
    clock: WorldClock,
    keep: Keep,
    lines: Mutex<Lines>,
}

#[derive(Debug)]
struct Lines {
    hash: u64,
    count: u64,
    kept: VecDeque<String>,
}

impl Log {
    pub(crate) fn new(clock: WorldClock, keep: Keep) -> Self {
        Self { clock, keep, lines: Mutex::new(Lines { hash: FNV_BASIS, count: 0, kept: VecDeque::new() }) }
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a line, with the time before it.
    pub(crate) fn say(&self, what: fmt::Arguments<'_>) {
        let elapsed = self.clock.elapsed();
        let line = format!("{:>5}.{:03} {what}", elapsed.as_secs(), elapsed.subsec_millis());
        let mut lines = self.lock();
        lines.hash = line.bytes().fold(lines.hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME));
        lines.count += 1;
        if self.keep == Keep::Tail && lines.kept.len() >= TAIL_LINES {
            lines.kept.pop_front();
        }
        lines.kept.push_back(line);
    }

    /// A number that two logs share only if they are the same.
    pub(crate) fn hash(&self) -> u64 {
        self.lock().hash
    }

    /// The lines that were kept.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lock().kept.iter().cloned().collect()
    }
}
