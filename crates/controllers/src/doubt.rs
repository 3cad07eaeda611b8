//! Writes that got no answer: what became of them is looked up before the next decision, since the caches may not tell yet.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Client, Resource};

use crate::api::{self, Error};

/// Objects whose last write may have been done or not: by path, their uid if they were there before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Doubts(BTreeMap<String, Option<String>>);

/// What became of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Newest revision of those that are there.
    pub(crate) revision: u64,
    /// Uids of those that no longer are.
    pub(crate) gone: Vec<String>,
}

impl Doubts {
    /// Notes a write that failed, if it may have been done all the same.
    pub(crate) fn note<K: Resource<DynamicType = ()>>(&mut self, meta: &ObjectMeta, error: &Error) {
        if error.is_doubtful() {
            self.add::<K>(meta);
        }
    }

    /// Notes an object that may not be what it was taken for.
    pub(crate) fn add<K: Resource<DynamicType = ()>>(&mut self, meta: &ObjectMeta) {
        self.0.insert(api::path::<K>(meta), meta.uid.clone());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Looks all of them up; the doubts stay if that does not work.
    pub(crate) async fn settle(&mut self, client: &Client) -> Result<Found, Error> {
        let mut found = Found::default();
        for (path, uid) in &self.0 {
            match api::look(client, path).await {
                Ok(present) => {
                    found.revision = found.revision.max(present.revision);
                    found.gone.extend(uid.clone().filter(|uid| *uid != present.uid));
                }
                Err(error) if error.is_not_found() => found.gone.extend(uid.clone()),
                Err(error) => return Err(error),
            }
        }
        self.0.clear();
        Ok(found)
    }
}
