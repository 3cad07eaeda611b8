//! What pods are granted of this machine when they ask for other resources than they have.

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use windlass_planner::{
    pod::{
        conditions,
        resize::{self, Allocation, Pending},
    },
    schedule::Resources,
};

use super::Kubelet;
use crate::pod::{Existing, Handle, has_ended, statuses};

/// What a pod has been granted, and since when it waits for more, and why.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Grant {
    pub(crate) allocation: Allocation,
    pub(crate) waits: Option<(Pending, Timestamp)>,
}

impl Grant {
    /// What a pod gets that is taken on: all that it asks for, unless its containers have something else, or had it when the machine
    /// stopped.
    pub(super) fn taken_on(pod: &Pod, existing: Option<&Existing>) -> Self {
        let said = |container: &str| {
            let status = statuses(pod.status.as_ref()?).find(|status| status.name == container)?;
            status.resources.clone()
        };
        let has = |container: &str| existing.and_then(|existing| existing.resources(container)).or_else(|| said(container));
        let allocation = pod.spec.as_ref().map(|spec| Allocation::taken_over(spec, has)).unwrap_or_default();
        Self { allocation, waits: None }
    }
}

impl Handle {
    /// The pod as it was granted.
    pub(super) fn granted(&self) -> Arc<Pod> {
        self.grant.borrow().allocation.apply(&self.pod.borrow())
    }

    /// Since when it asks for what it has not got: an earlier kubelet may have said so.
    fn waits_since(&self) -> Option<Timestamp> {
        if let Some((_, since)) = &self.grant.borrow().waits {
            return Some(*since);
        }
        let pod = self.pod.borrow();
        let pending = conditions::find(pod.status.as_ref()?, conditions::RESIZE_PENDING)?;
        pending.last_transition_time.as_ref().map(|time| time.0)
    }

    /// It holds something of this machine.
    pub(super) fn takes_room(&self) -> bool {
        !self.is_refused && !has_ended(&self.status.borrow())
    }

    /// It asks for something else than it was granted.
    fn is_unserved(&self) -> bool {
        let pod = self.pod.borrow();
        let stays = self.takes_room() && pod.metadata.deletion_timestamp.is_none();
        stays && pod.spec.as_ref().is_some_and(|spec| !self.grant.borrow().allocation.covers(spec))
    }
}

impl Kubelet {
    /// Something was given back: whoever waits for it is served.
    pub(crate) fn make_room(&self) {
        self.serve(&self.handles());
    }

    /// A pod has changed.
    pub(super) fn reallocate(&self, handles: &HashMap<String, Handle>, uid: &str) {
        let Some(handle) = handles.get(uid) else { return };
        if handle.is_unserved() {
            return self.serve(handles);
        }
        // It may have taken its wish back.
        handle.grant.send_if_modified(|grant| grant.waits.take().is_some());
    }

    /// Decides on all pods that ask for something else than they have, one after the other: each finds what the one before it took.
    fn serve(&self, handles: &HashMap<String, Handle>) {
        let mut unserved: Vec<(&String, &Handle)> = handles.iter().filter(|(_, handle)| handle.is_unserved()).collect();
        let now = Timestamp::now();
        unserved.sort_by_cached_key(|(uid, handle)| {
            let place = resize::precedence(&handle.pod.borrow(), &handle.granted(), handle.waits_since().unwrap_or(now));
            (place, (*uid).clone())
        });
        for (uid, handle) in unserved {
            let pod = Arc::clone(&handle.pod.borrow());
            let Some(spec) = &pod.spec else { continue };
            let pending =
                resize::verdict(&Resources::of_pod(spec), &self.used(handles, uid), &Resources::of_list(Some(&self.allocatable)));
            let since = handle.waits_since().unwrap_or(now);
            handle.grant.send_if_modified(|grant| {
                let decided = match pending {
                    None => Grant { allocation: Allocation::of(spec), waits: None },
                    Some(pending) => Grant { allocation: grant.allocation.clone(), waits: Some((pending, since)) },
                };
                let is_new = *grant != decided;
                *grant = decided;
                is_new
            });
        }
    }

    /// What the other pods of this machine hold.
    fn used(&self, handles: &HashMap<String, Handle>, uid: &str) -> Resources {
        let mut used = Resources::default();
        let others = handles.iter().filter(|(other, handle)| *other != uid && handle.takes_room());
        for (_, handle) in others {
            used.add(&handle.granted().spec.as_ref().map(Resources::of_pod).unwrap_or_default());
        }
        used
    }
}
