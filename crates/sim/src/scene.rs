//! What is in the store, as far as the checkers look: decoded by the simulation itself, with no code of the parts it judges.

mod nodes;
mod objects;
mod sets;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;
use windlass_storage::{Entry, Event};

pub(crate) use self::{
    nodes::Nodes,
    objects::{Bounds, Claim, Deployment, Pod, ReplicaSet},
    sets::{Revision, Set},
};

/// One kind's objects by key of the store.
pub(crate) type Objects<T> = BTreeMap<String, T>;

/// Everything that is looked at.
#[derive(Debug, Default)]
pub(crate) struct Scene {
    pub(crate) pods: Objects<Pod>,
    pub(crate) replica_sets: Objects<ReplicaSet>,
    pub(crate) deployments: Objects<Deployment>,
    /// StatefulSets and DaemonSets.
    pub(crate) sets: Objects<Set>,
    pub(crate) revisions: Objects<Revision>,
    pub(crate) claims: Objects<Claim>,
    pub(crate) nodes: Nodes,
}

/// What one write did to an object that is looked at.
#[derive(Debug)]
pub(crate) enum Change {
    /// A pod, as it was and as it is.
    Pod(Option<Pod>, Option<Pod>),
    /// A ReplicaSet.
    ReplicaSet(Option<ReplicaSet>, Option<ReplicaSet>),
    /// A Deployment.
    Deployment(Option<Deployment>, Option<Deployment>),
    /// A StatefulSet or DaemonSet.
    Set(Option<Set>, Option<Set>),
    /// A ControllerRevision.
    Revision(Option<Revision>, Option<Revision>),
    /// A PersistentVolumeClaim.
    Claim(Option<Claim>, Option<Claim>),
}

impl Scene {
    /// Takes a write in; `None` where nobody looks at that kind.
    pub(crate) fn take(&mut self, event: &Event) -> Result<Option<Change>, String> {
        let key = event.entry.key.as_ref();
        let fresh = (!event.deleted).then_some(&event.entry);
        let path = key.strip_prefix("/registry/").unwrap_or(key);
        Ok(if path.starts_with("core/pods/") {
            let (before, after) = replace(&mut self.pods, key, fresh, Pod::read)?;
            after.iter().for_each(|pod| self.nodes.take_pod(pod));
            Some(Change::Pod(before, after))
        } else if path.starts_with("apps/replicasets/") {
            let (before, after) = replace(&mut self.replica_sets, key, fresh, ReplicaSet::read)?;
            Some(Change::ReplicaSet(before, after))
        } else if path.starts_with("apps/deployments/") {
            let (before, after) = replace(&mut self.deployments, key, fresh, Deployment::read)?;
            Some(Change::Deployment(before, after))
        } else if path.starts_with("apps/statefulsets/") {
            let (before, after) = replace(&mut self.sets, key, fresh, Set::stateful)?;
            Some(Change::Set(before, after))
        } else if path.starts_with("apps/daemonsets/") {
            let (before, after) = replace(&mut self.sets, key, fresh, Set::daemon)?;
            Some(Change::Set(before, after))
        } else if path.starts_with("apps/controllerrevisions/") {
            let (before, after) = replace(&mut self.revisions, key, fresh, Revision::read)?;
            Some(Change::Revision(before, after))
        } else if path.starts_with("core/persistentvolumeclaims/") {
            let (before, after) = replace(&mut self.claims, key, fresh, Claim::read)?;
            Some(Change::Claim(before, after))
        } else {
            if let Some(name) = path.strip_prefix("core/nodes/") {
                self.nodes.take(name, fresh.map(|entry| read(key, entry)).transpose()?.as_ref(), &self.pods);
            }
            None
        })
    }

    /// The revisions of a set, by its uid.
    pub(crate) fn revisions_of<'a>(&'a self, set: &'a str) -> impl Iterator<Item = &'a Revision> {
        self.revisions.values().filter(move |revision| revision.meta.is_owned_by(set))
    }

    /// The StatefulSet or DaemonSet that a pod belongs to.
    pub(crate) fn set_of(&self, pod: &Pod) -> Option<&Set> {
        self.sets.values().find(|set| pod.meta.is_owned_by(&set.meta.uid))
    }

    /// The ReplicaSets of a Deployment, by its uid.
    pub(crate) fn replica_sets_of<'a>(&'a self, deployment: &'a str) -> impl Iterator<Item = &'a ReplicaSet> {
        self.replica_sets.values().filter(move |set| set.meta.is_owned_by(deployment))
    }

    /// The pods of whatever has this uid.
    pub(crate) fn pods_of<'a>(&'a self, owner: &'a str) -> impl Iterator<Item = &'a Pod> {
        self.pods.values().filter(move |pod| pod.meta.is_owned_by(owner))
    }

    /// The Deployment that a pod belongs to through its ReplicaSet.
    pub(crate) fn deployment_of(&self, pod: &Pod) -> Option<&Deployment> {
        let set = self.replica_sets.values().find(|set| pod.meta.is_owned_by(&set.meta.uid))?;
        self.deployments.values().find(|deployment| set.meta.is_owned_by(&deployment.meta.uid))
    }

    /// Pods of a Deployment that count as replicas: neither finished nor on their way out.
    pub(crate) fn active(&self, deployment: &str) -> usize {
        self.replica_sets_of(deployment).map(|set| self.pods_of(&set.meta.uid).filter(|pod| pod.is_active()).count()).sum()
    }

    /// Of those, the ones that are available.
    pub(crate) fn available(&self, deployment: &str, now: Timestamp) -> usize {
        let of_set =
            |set: &ReplicaSet| self.pods_of(&set.meta.uid).filter(|pod| pod.is_available(set.min_ready_seconds, now)).count();
        self.replica_sets_of(deployment).map(of_set).sum()
    }

    /// Of those, the ones that ReplicaSets have been told to give up, and have not yet.
    pub(crate) fn told_to_go(&self, deployment: &str) -> usize {
        let of_set =
            |set: &ReplicaSet| self.pods_of(&set.meta.uid).filter(|pod| pod.is_active()).count().saturating_sub(set.size);
        self.replica_sets_of(deployment).map(of_set).sum()
    }

    /// Whether what the controllers have written about a Deployment is the truth: they know of everything that has happened to it.
    pub(crate) fn is_quiet(&self, deployment: &Deployment, now: Timestamp) -> bool {
        let uid = &deployment.meta.uid;
        let sets_speak_true = self.replica_sets_of(uid).all(|set| {
            let pods = || self.pods_of(&set.meta.uid);
            set.is_observed()
                && set.status_replicas == pods().filter(|pod| pod.is_active()).count()
                && set.status_available == pods().filter(|pod| pod.is_available(set.min_ready_seconds, now)).count()
        });
        sets_speak_true
            && deployment.is_observed()
            && deployment.status_replicas == self.active(uid)
            && deployment.status_available == self.available(uid, now)
    }
}

fn read(key: &str, entry: &Entry) -> Result<Value, String> {
    serde_json::from_slice(windlass_apiserver::stored_json(entry)).map_err(|error| format!("{key}: {error}"))
}

fn replace<T: Clone>(
    objects: &mut Objects<T>,
    key: &str,
    fresh: Option<&Entry>,
    decode: fn(&Value) -> Option<T>,
) -> Result<(Option<T>, Option<T>), String> {
    let Some(entry) = fresh else { return Ok((objects.remove(key), None)) };
    let object = decode(&read(key, entry)?).ok_or_else(|| format!("{key} lacks what every object of its kind has"))?;
    Ok((objects.insert(key.to_owned(), object.clone()), Some(object)))
}
