//! Which keys end by themselves, and when.

use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc};

use crate::{Entry, Revision};

/// Keys with a time to live, soonest first. A key that was written again is told apart by its revision.
#[derive(Debug, Clone, Default)]
pub(crate) struct Expiries {
    heap: BinaryHeap<Reverse<(u64, Arc<str>, Revision)>>,
}

impl Expiries {
    /// The entry ends at this time, in milliseconds since 1970.
    pub(crate) fn add(&mut self, at_ms: u64, entry: &Entry) {
        self.heap.push(Reverse((at_ms, entry.key.clone(), entry.mod_revision)));
    }

    /// When the next key ends.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((at_ms, ..))| *at_ms)
    }

    /// The keys (with the revision they must still be at) whose time has come, at most `limit`.
    pub(crate) fn due(&mut self, now_ms: u64, limit: usize) -> Vec<(Arc<str>, Revision)> {
        let mut due = Vec::new();
        while due.len() < limit && self.next_ms().is_some_and(|at_ms| at_ms <= now_ms) {
            if let Some(Reverse((_, key, revision))) = self.heap.pop() {
                due.push((key, revision));
            }
        }
        due
    }
}
