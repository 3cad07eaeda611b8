//! What a DaemonSet does next: one pod a node that it fits, and a rollout within maxUnavailable and maxSurge.
//!
//! Behaviour follows <https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/>.

mod fit;
mod pod;
mod rollout;
mod settings;
mod status;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::{ControllerRevision, DaemonSet, DaemonSetStatus},
        core::v1::{Node, Pod},
    },
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use windlass_api::{names::LABEL_CONTROLLER_REVISION_HASH, selector::Selector};

use self::{fit::Fit, settings::Settings};
use crate::{
    claim::{self, HandOver},
    controller_revision::{self, History},
    failures::Failures,
    note::Note,
    owner, replica,
};

/// Everything the decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot<'a> {
    /// The DaemonSet.
    pub daemon_set: &'a DaemonSet,
    /// Pods of its namespace that it owns or could adopt; others may be among them.
    pub pods: &'a [Arc<Pod>],
    /// Revisions of its namespace; others may be among them.
    pub revisions: &'a [Arc<ControllerRevision>],
    /// All nodes.
    pub nodes: &'a [Arc<Node>],
    /// What the last plan remembered.
    pub failures: &'a Failures,
}

/// Why a step is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// A pod without an owner has our labels.
    Adopt,
    /// A pod of ours no longer has our labels.
    Release,
    /// A node that fits has no pod.
    MissingPod,
    /// A new pod comes beside an old one, within maxSurge.
    Surge,
    /// The pod has ended for good.
    FinishedPod,
    /// Its node does not fit any more, or is gone.
    UnfitNode,
    /// The node has more pods than it should.
    Duplicate,
    /// An old pod whose successor is available.
    Superseded,
    /// An old pod that does not serve: replacing it costs nothing.
    UnavailableOldPod,
    /// An old pod, within maxUnavailable.
    Rollout,
}

/// What a DaemonSet waits for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum WaitingOn {
    /// Pods change hands first.
    Ownership,
    /// Pods that are not available, and as many as may be.
    Available {
        /// Nodes without an available pod.
        unavailable: i32,
        /// Most there may be in a rollout.
        limit: i32,
    },
    /// A failed pod of a node is replaced after a pause.
    BackOff {
        /// When the first of them ends.
        until: Timestamp,
    },
    /// `updateStrategy: OnDelete`: somebody has to delete these pods.
    Deleted {
        /// How many.
        pods: i32,
    },
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Make this pod, its name to be completed from `generateName`.
    CreatePod(Box<Pod>),
    /// Delete this pod, if it still is the one that was seen.
    DeletePod(Arc<Pod>),
    /// Give the pod these owners, if it still is as it was seen.
    SetPodOwners(Arc<Pod>, Vec<OwnerReference>),
}

/// One step, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What to do.
    pub action: Action,
    /// Why.
    pub reason: Reason,
    /// What to say on the DaemonSet besides SuccessfulCreate and SuccessfulDelete, which name the pod.
    pub note: Option<Note>,
}

/// What the DaemonSet does next.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// To the history, before anything else.
    pub revisions: Vec<controller_revision::Action>,
    /// Independent of each other.
    pub steps: Vec<Step>,
    /// The status as of the snapshot.
    pub status: DaemonSetStatus,
    /// What it waits for.
    pub waiting: Vec<WaitingOn>,
    /// When a pod will have been ready for minReadySeconds, or a pause is over.
    pub wake_at: Option<Timestamp>,
    /// To be remembered for the next plan.
    pub failures: Failures,
}

/// A node, whether the DaemonSet wants a pod there, and the pods that are there, oldest first.
struct Place {
    node: Arc<Node>,
    fit: Fit,
    pods: Vec<Arc<Pod>>,
}

/// The decision in the making.
struct Planning<'a> {
    set: &'a DaemonSet,
    settings: Settings,
    history: History,
    /// Hash of the present template.
    hash: String,
    places: Vec<Place>,
    /// Pods on nodes that do not exist.
    strays: Vec<Arc<Pod>>,
    now: Timestamp,
    steps: Vec<Step>,
    waiting: Vec<WaitingOn>,
    failures: Failures,
}

/// Decides.
pub fn plan(snapshot: &Snapshot<'_>, now: Timestamp) -> Plan {
    let set = snapshot.daemon_set;
    let collisions = set.status.as_ref().and_then(|status| status.collision_count);
    let template = settings::template(set);
    let (wanted, label) = (selector(set), LABEL_CONTROLLER_REVISION_HASH);
    let history = History::of::<DaemonSet>(&set.metadata, &wanted, &template, snapshot.revisions, collisions, label);
    let hash = controller_revision::hash(&history.newest).to_owned();
    let (mine, steps) = sort_out(set, &wanted, snapshot.pods);
    let (places, strays) = arrange(set, snapshot.nodes, mine);
    let wanted = places.iter().filter(|place| place.fit.should_run).count();
    let settings = Settings::of(set, i32::try_from(wanted).unwrap_or(i32::MAX));
    let failures = snapshot.failures.clone();
    let mut planning = Planning { set, settings, history, hash, places, strays, now, steps, waiting: Vec::new(), failures };
    if planning.steps.is_empty() && set.metadata.deletion_timestamp.is_none() {
        planning.keep_one_a_node();
        planning.roll();
    } else if !planning.steps.is_empty() {
        planning.waiting.push(WaitingOn::Ownership);
    }
    planning.finish()
}

impl Planning<'_> {
    fn finish(self) -> Plan {
        let status = self.status();
        let pods = self.places.iter().flat_map(|place| &place.pods).chain(&self.strays);
        let hashes: BTreeSet<&str> = pods.clone().map(|pod| pod::hash_of(pod)).collect();
        let live = hashes.into_iter().map(|hash| format!("{}-{hash}", owner::name(&self.set.metadata))).collect();
        let mut revisions = self.history.actions.clone();
        revisions.extend(self.history.surplus(&live, self.settings.history_limit));
        let times = pods.filter_map(|pod| replica::available_at(pod, self.settings.min_ready_seconds));
        let pauses = self.waiting.iter().filter_map(|waiting| match waiting {
            WaitingOn::BackOff { until } => Some(*until),
            _ => None,
        });
        let wake_at = times.filter(|at| *at > self.now).chain(pauses).min();
        Plan { revisions, steps: self.steps, status, waiting: self.waiting, wake_at, failures: self.failures }
    }

    /// The first reason to delete a pod is the one that counts.
    fn delete(&mut self, pod: &Arc<Pod>, reason: Reason, note: Option<Note>) {
        if self.steps.iter().any(|step| matches!(&step.action, Action::DeletePod(planned) if Arc::ptr_eq(planned, pod))) {
            return;
        }
        self.steps.push(Step { action: Action::DeletePod(Arc::clone(pod)), reason, note });
    }

    fn create(&mut self, node: &Node, reason: Reason) {
        let pod = Box::new(self.new_pod(owner::name(&node.metadata)));
        self.steps.push(Step { action: Action::CreatePod(pod), reason, note: None });
    }

    fn is_available(&self, pod: &Pod) -> bool {
        replica::is_active(pod) && replica::is_available(pod, self.settings.min_ready_seconds, self.now)
    }

    fn is_new(&self, pod: &Pod) -> bool {
        pod::hash_of(pod) == self.hash
    }

    /// Makes missing pods and deletes those that should not be. A node with a pod on its way out gets its next one when that is gone.
    fn keep_one_a_node(&mut self) {
        self.failures.forget(self.now);
        for index in 0..self.places.len() {
            let Place { node, fit, pods } = &self.places[index];
            let (node, fit, pods) = (Arc::clone(node), *fit, pods.clone());
            if fit.should_run && pods.is_empty() {
                self.create(&node, Reason::MissingPod);
                continue;
            }
            let staying: Vec<_> = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect();
            let (finished, active): (Vec<&Arc<Pod>>, Vec<_>) = staying.into_iter().partition(|pod| replica::is_finished(pod));
            self.delete_finished(&finished, owner::name(&node.metadata));
            if !fit.should_continue {
                active.iter().for_each(|pod| self.delete(pod, Reason::UnfitNode, None));
            } else {
                self.delete_duplicates(&active);
            }
        }
        for pod in self.strays.clone() {
            if pod.metadata.deletion_timestamp.is_none() {
                self.delete(&pod, Reason::UnfitNode, None);
            }
        }
    }

    /// Pods that have ended make room for the next; after a failed one there is a pause, the longer the more have failed.
    fn delete_finished(&mut self, finished: &[&Arc<Pod>], node: &str) {
        let until = self.failures.until(node, self.now);
        let mut has_failed = false;
        for pod in finished {
            let failed = replica::phase(pod) == "Failed";
            has_failed |= failed;
            if failed && until.is_some() {
                continue;
            }
            self.delete(pod, Reason::FinishedPod, Some(pod::finished_note(pod, node)));
        }
        match until {
            _ if !has_failed => {}
            Some(until) => self.waiting.push(WaitingOn::BackOff { until }),
            None => self.failures.replaced(node, self.now),
        }
    }

    /// Of several pods on a node the oldest one that serves stays; while surging, that of each generation, the old one only if it is
    /// ready.
    fn delete_duplicates(&mut self, active: &[&Arc<Pod>]) {
        let mut active = active.to_vec();
        active.sort_by_key(|pod| !self.is_available(pod));
        let (new, old): (Vec<&Arc<Pod>>, Vec<&Arc<Pod>>) = active.iter().copied().partition(|pod| self.is_new(pod));
        let surplus = if self.settings.max_surge > 0 && !new.is_empty() && !old.is_empty() {
            [&new[1..], &old[usize::from(replica::is_ready(old[0]))..]].concat()
        } else {
            active.iter().skip(1).copied().collect()
        };
        surplus.into_iter().for_each(|pod| self.delete(pod, Reason::Duplicate, None));
    }
}
/// What is the set's, by its labels: nothing, if its selector cannot be read.
fn selector(set: &DaemonSet) -> Selector {
    Selector::from_typed(set.spec.as_ref().map(|spec| &spec.selector)).unwrap_or_else(|_| Selector::nothing())
}

/// Which pods are the set's, and which have to change hands.
fn sort_out(set: &DaemonSet, wanted: &Selector, pods: &[Arc<Pod>]) -> (Vec<Arc<Pod>>, Vec<Step>) {
    let (mine, changes) = claim::sort_out::<DaemonSet, _>(&set.metadata, wanted, pods, |_| true);
    let step = |change: HandOver<Pod>| Step {
        action: Action::SetPodOwners(change.object, change.owners),
        reason: if change.adopted { Reason::Adopt } else { Reason::Release },
        note: None,
    };
    (mine, changes.into_iter().map(step).collect())
}

/// Each node with its pods, and the pods of nodes that do not exist.
fn arrange(set: &DaemonSet, nodes: &[Arc<Node>], pods: Vec<Arc<Pod>>) -> (Vec<Place>, Vec<Arc<Pod>>) {
    let mut by_node: BTreeMap<String, Vec<Arc<Pod>>> = BTreeMap::new();
    for pod in pods {
        if let Some(node) = pod::node_of(&pod) {
            by_node.entry(node.to_owned()).or_default().push(pod);
        }
    }
    let mut nodes: Vec<_> = nodes.to_vec();
    nodes.sort_by(|a, b| owner::name(&a.metadata).cmp(owner::name(&b.metadata)));
    let place = |node: Arc<Node>| {
        let mut pods = by_node.remove(owner::name(&node.metadata)).unwrap_or_default();
        pods.sort_by(|a, b| {
            let age =
                |pod: &Pod| (pod.metadata.creation_timestamp.as_ref().map(|time| time.0), owner::name(&pod.metadata).to_owned());
            age(a).cmp(&age(b))
        });
        Place { fit: fit::of(set, &node), node, pods }
    };
    let places = nodes.into_iter().map(place).collect();
    (places, by_node.into_values().flatten().collect())
}
