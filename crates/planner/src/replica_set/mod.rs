//! What a ReplicaSet does next: pods to make, delete, adopt or release, and its status.

mod flood;
mod ranking;
mod status;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::{
    Resource,
    api::{
        apps::v1::{ReplicaSet, ReplicaSetStatus},
        core::v1::{Pod, PodTemplateSpec},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use windlass_api::selector::Selector;

pub use self::{ranking::first_to_go, status::with_failure};
use crate::{
    claim::{self, HandOver},
    owner, replica,
};

/// Most pods made or deleted in one pass. Upstream's figure: a wrong template cannot flood the API server.
pub const BURST_PODS: usize = 500;

/// Everything the decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot<'a> {
    /// The ReplicaSet.
    pub replica_set: &'a ReplicaSet,
    /// Pods of its namespace that it owns or could adopt; others may be among them.
    pub pods: &'a [Arc<Pod>],
    /// Pods of every ReplicaSet under the same Deployment, its own included: they tell how crowded nodes are.
    pub related: &'a [Arc<Pod>],
}

/// Why a step is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// A pod without an owner has our labels.
    Adopt,
    /// A pod of ours no longer has our labels.
    Release,
    /// Fewer pods than replicas.
    TooFew,
    /// More pods than replicas.
    TooMany,
}

/// What a ReplicaSet waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WaitingOn {
    /// Pods change hands first.
    Ownership,
    /// Pods that are not available yet.
    Available {
        /// How many.
        missing: i32,
    },
    /// Pods failed one after the other: more are made after a pause.
    Pause {
        /// When it is over.
        until: Timestamp,
    },
    /// Pods on their way out.
    Terminating {
        /// How many.
        pods: i32,
    },
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Make pods like this one under fresh names, in batches of these sizes: the next batch only if all of one went well.
    Create {
        /// The pod, its name to be completed from `generateName`.
        pod: Box<Pod>,
        /// Sizes of the batches.
        batches: Vec<usize>,
    },
    /// Delete the pod, if it still is the one that was seen.
    Delete(Arc<Pod>),
    /// Give the pod these owners, if it still is as it was seen.
    SetOwners {
        /// The pod as it was seen.
        pod: Arc<Pod>,
        /// All its owners from now on.
        owners: Vec<OwnerReference>,
    },
}

/// One step, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What to do.
    pub action: Action,
    /// Why.
    pub reason: Reason,
}

/// What the ReplicaSet does next.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Independent of each other.
    pub steps: Vec<Step>,
    /// The status as of the snapshot; once steps were taken a newer one is due.
    pub status: ReplicaSetStatus,
    /// What it waits for.
    pub waiting: Vec<WaitingOn>,
    /// When a pod will have been ready for minReadySeconds, or a pause is over.
    pub wake_at: Option<Timestamp>,
}

/// The parts of a pod that a ReplicaSet counts by; as long as none changes there is nothing to do.
pub fn shown(pod: &Pod) -> impl PartialEq + '_ {
    let meta = &pod.metadata;
    let ready_since = replica::ready_since(pod);
    (
        &meta.owner_references,
        &meta.labels,
        meta.deletion_timestamp.is_some(),
        replica::is_finished(pod),
        replica::is_ready(pod),
        ready_since,
    )
}

/// `spec.replicas`; 1 if not said.
pub fn replicas(replica_set: &ReplicaSet) -> i32 {
    replica_set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// Decides, on behalf of an owner of kind `K`.
pub fn plan<K: Resource>(snapshot: &Snapshot<'_>, now: Timestamp) -> Plan {
    let replica_set = snapshot.replica_set;
    let (mine, mut steps) = sort_out::<K>(&replica_set.metadata, &selector(replica_set), snapshot.pods);
    let mut waiting = Vec::new();
    let mut pause = None;
    if steps.is_empty() && replica_set.metadata.deletion_timestamp.is_none() {
        steps.extend(resize::<K>(snapshot, &mine.active, now));
        let grows = steps.iter().any(|step| step.reason == Reason::TooFew);
        pause = if grows { flood::pause(&mine.failed, wanted(replica_set), now) } else { None };
        if let Some(until) = pause {
            steps.clear();
            waiting.push(WaitingOn::Pause { until });
        }
    } else if !steps.is_empty() {
        waiting.push(WaitingOn::Ownership);
    }
    let status = status::counted(replica_set, &mine.active, mine.terminating, now);
    let missing = replicas(replica_set) - status.available_replicas.unwrap_or(0);
    if missing > 0 {
        waiting.push(WaitingOn::Available { missing });
    }
    if mine.terminating > 0 {
        waiting.push(WaitingOn::Terminating { pods: mine.terminating });
    }
    let min_ready_seconds = min_ready_seconds(replica_set);
    let times = mine.active.iter().filter_map(|pod| replica::available_at(pod, min_ready_seconds)).filter(|at| *at > now);
    let wake_at = times.chain(pause).min();
    Plan { steps, status, waiting, wake_at }
}

fn wanted(replica_set: &ReplicaSet) -> usize {
    usize::try_from(replicas(replica_set)).unwrap_or(0)
}

fn selector(replica_set: &ReplicaSet) -> Selector {
    Selector::from_typed(replica_set.spec.as_ref().map(|spec| &spec.selector)).unwrap_or_else(|_| Selector::nothing())
}

fn min_ready_seconds(replica_set: &ReplicaSet) -> i32 {
    replica_set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0)
}

/// The pods that count.
struct Mine {
    active: Vec<Arc<Pod>>,
    terminating: i32,
    failed: Vec<Arc<Pod>>,
}

/// Which pods are the owner's, and which have to change hands. What has ended is not counted.
fn sort_out<K: Resource>(owner_meta: &ObjectMeta, wanted: &Selector, pods: &[Arc<Pod>]) -> (Mine, Vec<Step>) {
    let (kept, changes) = claim::sort_out::<K, _>(owner_meta, wanted, pods, |_| true);
    let terminating = kept.iter().filter(|pod| replica::is_terminating(pod)).count();
    let mine = Mine {
        terminating: i32::try_from(terminating).unwrap_or(i32::MAX),
        failed: kept.iter().filter(|pod| replica::phase(pod) == "Failed").cloned().collect(),
        active: kept.into_iter().filter(|pod| replica::is_active(pod)).collect(),
    };
    let changes = changes.into_iter().filter(|change| !change.adopted || replica::is_active(&change.object));
    let step = |change: HandOver<Pod>| Step {
        action: Action::SetOwners { pod: change.object, owners: change.owners },
        reason: if change.adopted { Reason::Adopt } else { Reason::Release },
    };
    (mine, changes.map(step).collect())
}

fn resize<K: Resource>(snapshot: &Snapshot<'_>, active: &[Arc<Pod>], now: Timestamp) -> Vec<Step> {
    let wanted = wanted(snapshot.replica_set);
    if active.len() < wanted {
        let Some(template) = snapshot.replica_set.spec.as_ref().and_then(|spec| spec.template.as_ref()) else {
            return Vec::new();
        };
        let pod = Box::new(new_pod::<K>(&snapshot.replica_set.metadata, template));
        let batches = slow_start((wanted - active.len()).min(BURST_PODS));
        return vec![Step { action: Action::Create { pod, batches }, reason: Reason::TooFew }];
    }
    let surplus = (active.len() - wanted).min(BURST_PODS);
    let going = first_to_go(active, snapshot.related, surplus, min_ready_seconds(snapshot.replica_set), now).into_iter();
    going.map(|pod| Step { action: Action::Delete(pod), reason: Reason::TooMany }).collect()
}

/// Batches of 1, 2, 4, … so that what fails for all fails for few.
pub fn slow_start(count: usize) -> Vec<usize> {
    let mut batches = Vec::new();
    let (mut left, mut size) = (count, 1);
    while left > 0 {
        let batch = size.min(left);
        batches.push(batch);
        left -= batch;
        size *= 2;
    }
    batches
}

/// A pod of that template for that owner, with `generateName` in place of a name.
pub fn new_pod<K: Resource>(owner_meta: &ObjectMeta, template: &PodTemplateSpec) -> Pod {
    let meta = template.metadata.clone().unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", owner::name(owner_meta))),
            namespace: owner_meta.namespace.clone(),
            labels: meta.labels,
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![owner::controller_reference::<K>(owner_meta)]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}
