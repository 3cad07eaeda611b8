//! A home in memory: for simulation and tests, with the semantics of the one on disk.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;

use crate::{Change, Entry, Error, Expect, Page, Range, Revision, Store, Watch, expiry::Expiries, history::History};

/// Tells the time in milliseconds since 1970.
type Clock = Box<dyn Fn() -> u64 + Send + Sync>;

/// A store that is gone when it is dropped. Keys with a time to live end at the first write after their time.
pub struct Memory {
    history: Arc<History>,
    /// Writers take turns; it also keeps what must change together with the entries.
    writer: Mutex<Expiries>,
    clock: Clock,
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory").field("revision", &self.history.newest()).finish_non_exhaustive()
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

/// Milliseconds since 1970 by the machine's clock.
pub(crate) fn system_clock_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Memory {
    /// An empty store on the machine's clock.
    pub fn new() -> Self {
        Self::with_clock(system_clock_ms)
    }

    /// An empty store on a clock of the caller's, in milliseconds since 1970.
    pub fn with_clock(clock: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self { history: History::new(BTreeMap::new(), 0), writer: Mutex::default(), clock: Box::new(clock) }
    }

    /// A store with the same entries at the same revision, on a clock of its own and without history: what was read here can be
    /// read there, what is written there does not show here.
    pub fn fork(&self, clock: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        let expiries = self.writer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Self { history: self.history.fork(), writer: Mutex::new(expiries), clock: Box::new(clock) }
    }

    fn apply(&self, key: &str, expect: Expect, change: &Change) -> Result<Entry, Error> {
        let mut expiries = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let now_ms = (self.clock)();
        for (key, revision) in expiries.due(now_ms, usize::MAX) {
            // A key that was written or deleted meanwhile conflicts, and stays as it is.
            let _ = self.commit(&key, Expect::Revision(revision), &Change::Delete);
        }
        let entry = self.commit(key, expect, change)?;
        if let Change::Put(_, Some(ttl)) = change {
            expiries.add(now_ms.saturating_add(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)), &entry);
        }
        Ok(entry)
    }

    fn commit(&self, key: &str, expect: Expect, change: &Change) -> Result<Entry, Error> {
        let current = self.history.get(key);
        let staged = History::stage(key, expect, change, current.as_ref(), self.history.newest() + 1)?;
        let entry = staged.event.entry.clone();
        self.history.publish([staged]);
        Ok(entry)
    }
}

#[async_trait]
impl Store for Memory {
    async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        Ok(self.history.get(key))
    }

    async fn list(&self, range: Range) -> Result<Page, Error> {
        self.history.list(&range)
    }

    async fn write(&self, key: &str, expect: Expect, change: Change) -> Result<Entry, Error> {
        self.apply(key, expect, &change)
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, Error> {
        self.history.watch(prefix, after)
    }

    async fn compact(&self, before: Revision) -> Result<(), Error> {
        self.history.compact(before);
        Ok(())
    }

    async fn revision(&self) -> Result<Revision, Error> {
        Ok(self.history.newest())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_fork_goes_its_own_way_from_the_same_revision() {
        let put = |text: &'static str| Change::Put(text.into(), None);
        let store = Memory::new();
        let first = store.write("/a", Expect::Absent, put("1")).await.unwrap();
        let fork = store.fork(system_clock_ms);
        let second = fork.write("/a", Expect::Revision(first.mod_revision), put("2")).await.unwrap();
        assert_eq!(second.mod_revision, first.mod_revision + 1);
        assert_eq!(fork.get("/a").await.unwrap(), Some(second));
        assert_eq!(store.get("/a").await.unwrap(), Some(first));
        assert_eq!(store.revision().await.unwrap(), 1);
    }
}
