//! Read your writes: what a loop has written and has yet to see.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
};

use kube::Client;

use crate::{
    api::{Error, Written},
    cache::Key,
    doubt::Doubts,
};

/// The newest writes on behalf of one object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Newest revision of the object itself.
    pub(crate) own: u64,
    /// Newest revision of what it owns.
    pub(crate) children: u64,
    /// Uids of children deleted at once: such a delete tells no revision, so they are left out until they are gone.
    pub(crate) deleted: BTreeSet<String>,
    /// Children that a write got no answer for.
    pub(crate) doubts: Doubts,
}

impl Mark {
    pub(crate) fn own(&mut self, written: &Written) {
        self.own = self.own.max(written.revision);
    }

    pub(crate) fn child(&mut self, written: &Written) {
        self.children = self.children.max(written.revision);
    }

    /// Finds out what became of the writes that got no answer.
    pub(crate) async fn settle(&mut self, client: &Client) -> Result<(), Error> {
        let found = self.doubts.settle(client).await?;
        self.children = self.children.max(found.revision);
        self.deleted.extend(found.gone);
        Ok(())
    }

    /// Takes in what was written besides.
    pub(crate) fn merge(&mut self, other: Self) {
        self.children = self.children.max(other.children);
        self.deleted.extend(other.deleted);
        self.doubts.merge(other.doubts);
    }

    /// Notes a child whose delete was accepted.
    pub(crate) fn child_deleted(&mut self, uid: &str, written: &Written) {
        if written.deleting {
            self.child(written);
        }
        self.deleted.insert(uid.to_owned());
    }
}

/// The marks of one loop, by key.
#[derive(Debug, Default)]
pub(crate) struct Marks<M = Mark>(Mutex<HashMap<Key, M>>);

impl<M: Clone + Default + PartialEq> Marks<M> {
    pub(crate) fn get(&self, key: &Key) -> M {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned().unwrap_or_default()
    }

    pub(crate) fn set(&self, key: &Key, mark: M) {
        let mut marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if mark == M::default() {
            marks.remove(key);
        } else {
            marks.insert(Key::clone(key), mark);
        }
    }
}
