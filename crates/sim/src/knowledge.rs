//! What the controllers know: how far their watches have told them, and whether anything of theirs is still under way.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::time::Instant;
use windlass_storage::Revision;

/// Shared between the lines of the controllers and the ledger.
#[derive(Debug, Default)]
pub(crate) struct Knowledge {
    /// By prefix of a kind: everything up to here has been heard of.
    heard: Mutex<BTreeMap<String, Revision>>,
    under_way: AtomicU64,
    /// When they heard or wrote last: time stands still until everybody is done, so in that instant they may still be acting.
    disturbed: Mutex<Option<Instant>>,
}

/// A write that is under way, for as long as it lives.
#[derive(Debug)]
pub(crate) struct UnderWay(Arc<Knowledge>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
        self.0.disturb();
    }
}

impl Knowledge {
    /// Notes that a write has left.
    pub(crate) fn write(self: &Arc<Self>) -> UnderWay {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(Arc::clone(self))
    }

    fn disturb(&self) {
        *self.disturbed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Notes how far a watch has come.
    pub(crate) fn hear(&self, prefix: &str, revision: Revision) {
        self.disturb();
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).insert(prefix.to_owned(), revision);
    }

    /// Whoever is killed knows nothing.
    pub(crate) fn forget(&self) {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Whether they know of these writes, by prefix the newest, and are at rest.
    pub(crate) fn is_complete<'a>(&self, newest: impl Iterator<Item = (&'a str, Option<Revision>)>) -> bool {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let mut newest = newest.map(|(prefix, newest)| heard.get(prefix).is_some_and(|heard| *heard >= newest.unwrap_or(0)));
        let disturbed = *self.disturbed.lock().unwrap_or_else(PoisonError::into_inner);
        let at_rest = disturbed.is_none_or(|at| at < Instant::now());
        at_rest && self.under_way.load(Ordering::Relaxed) == 0 && newest.all(|known| known)
    }
}
