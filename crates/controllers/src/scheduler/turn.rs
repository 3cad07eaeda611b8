//! When it is a pod's turn.

use std::{cmp::Reverse, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use windlass_planner::{owner, schedule};

use crate::cache::{Key, key_of};

/// A pod, in the order in which places are given away: the highest priority first, then the oldest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Turn {
    priority: Reverse<i32>,
    since: Option<Timestamp>,
    pub(super) key: Key,
    /// Another pod of that name is another turn.
    pub(super) uid: Arc<str>,
}

impl Turn {
    pub(super) fn of(pod: &Pod) -> Self {
        let meta = &pod.metadata;
        Self {
            priority: Reverse(schedule::priority(pod)),
            since: meta.creation_timestamp.as_ref().map(|time| time.0),
            key: key_of(meta),
            uid: owner::uid(meta).into(),
        }
    }

    pub(super) fn is_of(&self, pod: &Pod) -> bool {
        *self.uid == *owner::uid(&pod.metadata)
    }
}
