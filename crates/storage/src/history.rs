//! What both homes keep in memory: the newest entry of every key, the events that led there, and who waits for more.
//!
//! A watcher owns no queue: it is a cursor into the shared events. So a slow one costs nothing, a burst cannot overflow it, and it
//! fails only when it has slept through everything that is kept.

use std::{
    collections::{BTreeMap, VecDeque},
    pin::pin,
    sync::{Arc, PoisonError, RwLock},
};

use futures::{StreamExt as _, stream};
use tokio::sync::Notify;

use crate::{Change, Entry, Error, Event, Expect, Page, Range, Revision, Signal, Watch};

/// Bytes of values that the kept events may hold before the oldest are forgotten: a rollout of a thousand pods writes about
/// 15 MiB, and whoever sleeps through one of those lists again.
const KEPT_BYTES: usize = 24 << 20;

/// Events handed to a watcher under one lock: long enough to be cheap, short enough that a writer never waits for it.
const CHUNK: usize = 256;

/// A write that was decided on, not yet visible.
#[derive(Debug, Clone)]
pub(crate) struct Staged {
    pub(crate) event: Event,
}

/// Entries, events and the newest revision.
#[derive(Debug, Default)]
struct State {
    entries: BTreeMap<Arc<str>, Entry>,
    /// The events of revisions `newest - events.len() + 1 ..= newest`, one each.
    events: VecDeque<Arc<Event>>,
    kept_bytes: usize,
    newest: Revision,
}

/// The shared memory of a store.
#[derive(Debug)]
pub(crate) struct History {
    state: RwLock<State>,
    /// Tells watchers that there is something new, in the order in which they began to wait.
    changed: Notify,
}

impl State {
    /// The oldest revision whose event is kept (or would be, if there is none).
    fn oldest(&self) -> Revision {
        self.newest + 1 - self.events.len() as Revision
    }

    fn check(&self, asked: Revision) -> Result<(), Error> {
        if asked > self.newest {
            return Err(Error::Future { asked, newest: self.newest });
        }
        if asked + 1 < self.oldest() {
            return Err(Error::Compacted { asked, oldest: self.oldest().saturating_sub(1) });
        }
        Ok(())
    }

    /// Events after a revision, at most [`CHUNK`].
    fn after(&self, revision: Revision) -> impl Iterator<Item = &Arc<Event>> {
        let skip = usize::try_from(revision + 1 - self.oldest()).unwrap_or(usize::MAX);
        self.events.iter().skip(skip).take(CHUNK)
    }

    fn forget_oldest(&mut self) {
        if let Some(event) = self.events.pop_front() {
            self.kept_bytes -= bytes_of(&event);
        }
    }

    fn record(&mut self, staged: Staged) {
        let event = Arc::new(staged.event);
        let key = event.entry.key.clone();
        if event.deleted {
            self.entries.remove(&key);
        } else {
            self.entries.insert(key, event.entry.clone());
        }
        self.newest = event.revision;
        self.kept_bytes += bytes_of(&event);
        self.events.push_back(event);
        while self.kept_bytes > KEPT_BYTES && self.events.len() > CHUNK {
            self.forget_oldest();
        }
    }

    /// The entries under a prefix as they were at a revision that [`State::check`] has passed.
    fn entries_at(&self, prefix: &str, revision: Revision) -> Vec<Entry> {
        let now = self.entries.range::<str, _>((std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded));
        let now = now.take_while(|(key, _)| key.starts_with(prefix));
        if revision == self.newest {
            return now.map(|(_, entry)| entry.clone()).collect();
        }
        let mut then: BTreeMap<Arc<str>, Entry> = now.map(|(key, entry)| (key.clone(), entry.clone())).collect();
        for event in self.events.iter().rev().take_while(|event| event.revision > revision) {
            if !event.entry.key.starts_with(prefix) {
                continue;
            }
            match &event.previous {
                Some(previous) => then.insert(event.entry.key.clone(), previous.clone()),
                None => then.remove(&event.entry.key),
            };
        }
        then.into_values().collect()
    }
}

fn bytes_of(event: &Event) -> usize {
    // What an event keeps alive beyond the newest entry is the value before it; the constant stands for the structs themselves.
    event.previous.as_ref().map_or(0, |entry| entry.value.len()) + event.entry.value.len() + 256
}

impl History {
    pub(crate) fn new(entries: BTreeMap<Arc<str>, Entry>, newest: Revision) -> Arc<Self> {
        let state = State { entries, newest, ..State::default() };
        Arc::new(Self { state: RwLock::new(state), changed: Notify::new() })
    }

    /// The same entries at the same revision, with nothing of how they came to be.
    pub(crate) fn fork(&self) -> Arc<Self> {
        let state = self.read();
        Self::new(state.entries.clone(), state.newest)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, State> {
        // A panic under the lock cannot leave half a write behind: every mutation below ends before it can fail.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn newest(&self) -> Revision {
        self.read().newest
    }

    pub(crate) fn get(&self, key: &str) -> Option<Entry> {
        self.read().entries.get(key).cloned()
    }

    /// Whether `change` may be made to `key` given its `current` entry, and the event it makes.
    pub(crate) fn stage(
        key: &str,
        expect: Expect,
        change: &Change,
        current: Option<&Entry>,
        revision: Revision,
    ) -> Result<Staged, Error> {
        let as_expected = match (expect, current) {
            (Expect::Absent, None) => true,
            (Expect::Revision(expected), Some(entry)) => entry.mod_revision == expected,
            _ => false,
        };
        let deletes_nothing = matches!(change, Change::Delete) && current.is_none();
        if !as_expected || deletes_nothing {
            return Err(Error::Conflict(current.cloned()));
        }
        let key: Arc<str> = current.map_or_else(|| Arc::from(key), |entry| entry.key.clone());
        let create_revision = current.map_or(revision, |entry| entry.create_revision);
        let (value, deleted) = match change {
            Change::Put(value, _) => (value.clone(), false),
            Change::Delete => (current.map(|entry| entry.value.clone()).unwrap_or_default(), true),
        };
        let entry = Entry { key, value, create_revision, mod_revision: revision };
        Ok(Staged { event: Event { revision, entry, previous: current.cloned(), deleted } })
    }

    /// Makes writes visible, in order, and wakes the watchers once.
    pub(crate) fn publish(&self, staged: impl IntoIterator<Item = Staged>) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        for write in staged {
            state.record(write);
        }
        drop(state);
        self.changed.notify_waiters();
    }

    pub(crate) fn list(&self, range: &Range) -> Result<Page, Error> {
        let state = self.read();
        let revision = range.at.unwrap_or(state.newest);
        state.check(revision)?;
        let mut entries = state.entries_at(&range.prefix, revision);
        drop(state);
        if let Some(after) = &range.after {
            entries.drain(..entries.partition_point(|entry| entry.key.as_ref() <= after.as_str()));
        }
        let wanted = if range.limit == 0 { entries.len() } else { range.limit.min(entries.len()) };
        let remaining = entries.len() - wanted;
        entries.truncate(wanted);
        Ok(Page { entries, revision, remaining })
    }

    pub(crate) fn compact(&self, before: Revision) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        while state.events.front().is_some_and(|event| event.revision < before) {
            state.forget_oldest();
        }
    }

    pub(crate) fn watch(self: &Arc<Self>, prefix: &str, after: Revision) -> Result<Watch, Error> {
        self.read().check(after)?;
        let cursor =
            Cursor { history: self.clone(), prefix: prefix.to_owned(), seen: after, reported: None, ready: VecDeque::new() };
        Ok(stream::unfold(Some(cursor), Cursor::next).boxed())
    }
}

/// A watcher: where it has read to, and what it has read but not handed on.
#[derive(Debug)]
struct Cursor {
    history: Arc<History>,
    prefix: String,
    seen: Revision,
    /// The last revision that the receiver knows to be covered.
    reported: Option<Revision>,
    ready: VecDeque<Arc<Event>>,
}

impl Cursor {
    async fn next(this: Option<Self>) -> Option<(Result<Signal, Error>, Option<Self>)> {
        let mut cursor = this?;
        loop {
            if let Some(event) = cursor.ready.pop_front() {
                cursor.reported = Some(event.revision);
                return Some((Ok(Signal::Event(event)), Some(cursor)));
            }
            let history = Arc::clone(&cursor.history);
            // Waiting begins before reading, so that a write in between wakes us.
            let mut changed = pin!(history.changed.notified());
            changed.as_mut().enable();
            match cursor.read() {
                Err(error) => return Some((Err(error), None)),
                Ok(true) => {}
                Ok(false) if cursor.reported != Some(cursor.seen) => {
                    cursor.reported = Some(cursor.seen);
                    return Some((Ok(Signal::Progress(cursor.seen)), Some(cursor)));
                }
                Ok(false) => changed.await,
            }
        }
    }

    /// Reads one chunk; says whether there may be more.
    fn read(&mut self) -> Result<bool, Error> {
        let state = self.history.read();
        if self.seen + 1 < state.oldest() {
            return Err(Error::Lagged);
        }
        let mut read = 0;
        for event in state.after(self.seen) {
            read += 1;
            if event.entry.key.starts_with(&self.prefix) {
                self.ready.push_back(event.clone());
            }
        }
        self.seen += read;
        Ok(read > 0)
    }
}
