//! A revisioned key-value store with watch: one trait, one conformance suite, two homes (embedded now, etcd later).
//!
//! Keys are paths (`/registry/apps/deployments/default/web`), values opaque bytes. Every write gets the next revision of the
//! whole store; a reader can list at a revision and watch from the one after it, and misses nothing in between.

mod digest;
mod disk;
mod embedded;
mod expiry;
mod history;
mod memory;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

pub use crate::{embedded::Embedded, memory::Memory};

/// A point in the history of the store, counted from 1; 0 stands before the first write.
pub type Revision = u64;

/// One key as it was at one revision. Cloning shares the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Arc<str>,
    /// What was written.
    pub value: Bytes,
    /// Revision at which the key came to be.
    pub create_revision: Revision,
    /// Revision of the write that made this value.
    pub mod_revision: Revision,
}

/// What the key must look like for a write to take place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// The key does not exist.
    Absent,
    /// The key was last written at this revision.
    Revision(Revision),
}

/// The new content of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Writes this value. With a time to live, the store deletes it by itself after that time (counted anew by each write).
    Put(Bytes, Option<Duration>),
    /// Deletes the key.
    Delete,
}

/// Part of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Entries in key order.
    pub entries: Vec<Entry>,
    /// The revision that the whole range was read at.
    pub revision: Revision,
    /// How many entries of the range come after the last one here.
    pub remaining: usize,
}

/// A range to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Range {
    /// All keys that start with this.
    pub prefix: String,
    /// Only keys after this one.
    pub after: Option<String>,
    /// As it was at this revision; `None`: now.
    pub at: Option<Revision>,
    /// At most so many entries; 0: all.
    pub limit: usize,
}

/// One write, as a watcher sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The revision of the write.
    pub revision: Revision,
    /// The entry after the write; for a delete, the last entry that was.
    pub entry: Entry,
    /// The entry before the write, if there was one.
    pub previous: Option<Entry>,
    /// Whether the write deleted the key.
    pub deleted: bool,
}

/// What a watch delivers, in revision order, without gap or duplicate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// A write to a key of the watched prefix.
    Event(Arc<Event>),
    /// Every write of the prefix up to and including this revision has been delivered.
    Progress(Revision),
}

/// Why a call to the store failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The key did not look as expected; holds what is there now.
    #[error("the key was changed meanwhile")]
    Conflict(Option<Entry>),
    /// That revision is no longer kept; the oldest that can be read is given.
    #[error("revision {asked} has been compacted, the oldest kept is {oldest}")]
    Compacted {
        /// The revision asked for.
        asked: Revision,
        /// The oldest revision that can be asked for.
        oldest: Revision,
    },
    /// That revision has not been written yet.
    #[error("revision {asked} is in the future, the newest is {newest}")]
    Future {
        /// The revision asked for.
        asked: Revision,
        /// The newest revision.
        newest: Revision,
    },
    /// A watcher was too slow and its queue full; it must list again.
    #[error("the watcher fell behind")]
    Lagged,
    /// The disk is full: nothing was written, reads go on.
    #[error("no space left on the disk that holds the store")]
    NoSpace,
    /// Another process has the store open.
    #[error("another process uses the store")]
    InUse,
    /// The store's file is damaged or not ours.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// Any other failure of the home.
    #[error("the store failed")]
    Io(#[source] std::io::Error),
}

impl Error {
    /// The same failure again, for the other writers of a commit.
    fn same(&self) -> Self {
        match self {
            Self::Conflict(entry) => Self::Conflict(entry.clone()),
            Self::Compacted { asked, oldest } => Self::Compacted { asked: *asked, oldest: *oldest },
            Self::Future { asked, newest } => Self::Future { asked: *asked, newest: *newest },
            Self::Lagged => Self::Lagged,
            Self::NoSpace => Self::NoSpace,
            Self::InUse => Self::InUse,
            Self::Damaged(text) => Self::Damaged(text.clone()),
            Self::Io(source) => Self::Io(std::io::Error::new(source.kind(), source.to_string())),
        }
    }
}

/// A watch on a prefix; ends with one error.
pub type Watch = BoxStream<'static, Result<Signal, Error>>;

/// A revisioned key-value store.
#[async_trait]
pub trait Store: Send + Sync + std::fmt::Debug + 'static {
    /// The entry of a key now.
    async fn get(&self, key: &str) -> Result<Option<Entry>, Error>;

    /// A range of keys, read at one revision.
    async fn list(&self, range: Range) -> Result<Page, Error>;

    /// Writes one key if it looks as expected, and returns its entry (for a delete: the entry that was, with the revision of the
    /// delete as `mod_revision`). Durable when it returns.
    async fn write(&self, key: &str, expect: Expect, change: Change) -> Result<Entry, Error>;

    /// Every write to the prefix after revision `after`, then what follows.
    /// The first signals catch up from history; a `Progress` is sent now and then, and once after catching up.
    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, Error>;

    /// Forgets history before this revision.
    async fn compact(&self, before: Revision) -> Result<(), Error>;

    /// The newest revision that is durable.
    async fn revision(&self) -> Result<Revision, Error>;
}
