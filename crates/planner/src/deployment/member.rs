//! One ReplicaSet of a Deployment while a plan is made: as it was seen, and as it shall be.

use std::{cmp::Ordering, sync::Arc};

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use windlass_api::names::{ANNOTATION_DESIRED_REPLICAS, ANNOTATION_MAX_REPLICAS};

use super::{Action, Reason, Step, settings};
use crate::{note::Note, owner};

/// A ReplicaSet and what this plan makes of it.
#[derive(Debug)]
pub(super) struct Member {
    /// As it was seen; for one to be created, as it will be.
    seen: Arc<ReplicaSet>,
    /// As it shall be, once that differs.
    changed: Option<Box<ReplicaSet>>,
    reason: Reason,
    exists: bool,
}

/// Oldest first; names settle ties of the same second.
pub(super) fn by_age(left: &ReplicaSet, right: &ReplicaSet) -> Ordering {
    let key = |replica_set: &ReplicaSet| replica_set.metadata.creation_timestamp.as_ref().map(|time| time.0);
    key(left).cmp(&key(right)).then_with(|| left.metadata.name.cmp(&right.metadata.name))
}

/// `spec.replicas` of a ReplicaSet.
pub(super) fn size_of(replica_set: &ReplicaSet) -> i32 {
    replica_set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

impl Member {
    pub(super) fn existing(seen: Arc<ReplicaSet>) -> Self {
        Self { seen, changed: None, reason: Reason::Annotate, exists: true }
    }

    pub(super) fn to_create(replica_set: ReplicaSet) -> Self {
        Self { seen: Arc::new(replica_set), changed: None, reason: Reason::NewTemplate, exists: false }
    }

    /// As it shall be.
    pub(super) fn object(&self) -> &ReplicaSet {
        self.changed.as_deref().unwrap_or(&self.seen)
    }

    pub(super) fn seen(&self) -> &Arc<ReplicaSet> {
        &self.seen
    }

    /// To be changed; the step is kept for the reason given last.
    pub(super) fn edit(&mut self, reason: Reason) -> &mut ReplicaSet {
        self.reason = reason;
        self.changed.get_or_insert_with(|| Box::new(ReplicaSet::clone(&self.seen)))
    }

    pub(super) fn name(&self) -> &str {
        owner::name(&self.seen.metadata)
    }

    pub(super) fn uid(&self) -> &str {
        owner::uid(&self.seen.metadata)
    }

    /// Pods asked for, after this plan.
    pub(super) fn size(&self) -> i32 {
        size_of(self.object())
    }

    /// Pods that count against maxSurge: those asked for, or those that still exist if there are more.
    pub(super) fn occupied(&self) -> i32 {
        self.size().max(self.status_replicas())
    }

    pub(super) fn status_replicas(&self) -> i32 {
        self.seen.status.as_ref().map_or(0, |status| status.replicas)
    }

    pub(super) fn ready(&self) -> i32 {
        self.seen.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0)
    }

    pub(super) fn available(&self) -> i32 {
        self.seen.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0)
    }

    /// Pods that are available and stay when the ReplicaSet has shrunk to its size.
    pub(super) fn lasting_available(&self) -> i32 {
        self.available().min(self.size())
    }

    /// Those of them that the rollout may count on: none while minReadySeconds grows, as the status counts by the shorter time
    /// until it tells of the present spec.
    pub(super) fn dependable_available(&self) -> i32 {
        let min_ready = |set: &ReplicaSet| set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
        let (before, after) = (min_ready(&self.seen), min_ready(self.object()));
        if after > before || after > 0 && !self.observed() { 0 } else { self.lasting_available() }
    }

    /// Whether its status tells of its present spec.
    pub(super) fn observed(&self) -> bool {
        let observed = self.seen.status.as_ref().and_then(|status| status.observed_generation).unwrap_or(0);
        !self.exists || observed >= self.seen.metadata.generation.unwrap_or(0)
    }

    /// Sets its size, and notes beside it which size of the Deployment that belongs to.
    pub(super) fn resize(&mut self, deployment: &Deployment, size: i32, reason: Reason) {
        let needed =
            sizing(deployment).into_iter().any(|(key, value)| owner::annotation(&self.object().metadata, key) != Some(&value));
        if size == self.size() && !needed {
            return;
        }
        let object = self.edit(reason);
        if let Some(spec) = object.spec.as_mut() {
            spec.replicas = Some(size);
        }
        object
            .metadata
            .annotations
            .get_or_insert_default()
            .extend(sizing(deployment).map(|(key, value)| (key.to_owned(), value)));
    }

    /// The write that makes it what it shall be, if one is needed.
    pub(super) fn into_step(self) -> Option<Step> {
        let (name, size) = (self.name().to_owned(), self.size());
        let before = if self.exists { size_of(&self.seen) } else { 0 };
        let note = match size.cmp(&before) {
            Ordering::Greater => Some(format!("Scaled up replica set {name} from {before} to {size}")),
            Ordering::Less => Some(format!("Scaled down replica set {name} from {before} to {size}")),
            Ordering::Equal => None,
        };
        let object = match (self.changed, self.exists) {
            (Some(changed), _) if *changed != *self.seen || !self.exists => changed,
            (_, false) => Box::new(Arc::unwrap_or_clone(self.seen)),
            (_, true) => return None,
        };
        let action = if self.exists { Action::Update(object) } else { Action::Create(object) };
        Some(Step { action, reason: self.reason, note: note.map(|text| Note::normal("ScalingReplicaSet", text)) })
    }
}

/// The annotations that record for which size of the Deployment a ReplicaSet was sized.
pub(super) fn sizing(deployment: &Deployment) -> [(&'static str, String); 2] {
    let replicas = settings::replicas(deployment);
    let most = replicas.saturating_add(settings::bounds(deployment).max_surge);
    [(ANNOTATION_DESIRED_REPLICAS, replicas.to_string()), (ANNOTATION_MAX_REPLICAS, most.to_string())]
}
