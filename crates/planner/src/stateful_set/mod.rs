//! What a StatefulSet does next: one pod a name, in order, each with its claims, and a rollout from the highest ordinal down.
//!
//! Behaviour follows <https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/>. One difference is deliberate: a pod
//! of a revision that is no longer wanted, and that is not ready, is replaced at once. Upstream waits for it to become ready first,
//! so that a rollout stuck on a broken revision stays stuck after the template was put right, until somebody deletes pods by hand.

mod claims;
mod identity;
mod order;
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
        apps::v1::{ControllerRevision, StatefulSet, StatefulSetStatus},
        core::v1::{PersistentVolumeClaim, Pod},
    },
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use windlass_api::selector::Selector;

pub use self::{
    claims::has_claim,
    identity::{LABEL_POD_INDEX, LABEL_POD_NAME, ordinal_of},
};
use self::{
    identity::Slot,
    settings::{Settings, Strategy},
};
use crate::{
    claim::{self, HandOver},
    controller_revision::{self, History, LABEL_HASH},
    failures::Failures,
    note::Note,
    owner, replica,
};

/// Everything the decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot<'a> {
    /// The StatefulSet.
    pub stateful_set: &'a StatefulSet,
    /// Pods of its namespace that it owns or could adopt; others may be among them.
    pub pods: &'a [Arc<Pod>],
    /// Revisions of its namespace; others may be among them.
    pub revisions: &'a [Arc<ControllerRevision>],
    /// Claims of its namespace; others may be among them.
    pub claims: &'a [Arc<PersistentVolumeClaim>],
    /// What the last plan remembered.
    pub failures: &'a Failures,
}

/// Why a step is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// A pod without an owner has our labels and one of our names.
    Adopt,
    /// A pod of ours no longer has our labels.
    Release,
    /// A pod needs a claim that does not exist.
    MissingClaim,
    /// A claim's owners are not what its retention policy says.
    Retention,
    /// An ordinal has no pod.
    MissingPod,
    /// Its pod has ended for good.
    FinishedPod,
    /// A pod does not say any more who it is.
    Identity,
    /// Its ordinal is not wanted any more.
    ScaleDown,
    /// It is of an older revision, and its turn has come.
    Rollout,
    /// It is of a revision that is not wanted and cannot serve: replacing it costs nothing.
    BrokenRevision,
}

/// What a StatefulSet waits for before it goes on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum WaitingOn {
    /// Pods change hands first.
    Ownership,
    /// This pod is on its way out.
    Gone {
        /// Its name.
        pod: String,
    },
    /// This claim of a pod that is to come goes with its predecessor.
    Claim {
        /// Its name.
        claim: String,
    },
    /// This pod failed, as others before it; it is replaced after a pause.
    Pause {
        /// Its name.
        pod: String,
        /// When the pause is over.
        until: Timestamp,
    },
    /// This pod is not ready, or not for long enough.
    Available {
        /// Its name.
        pod: String,
    },
    /// `updateStrategy: OnDelete`: somebody has to delete these pods.
    Deleted {
        /// How many.
        pods: i32,
    },
    /// `partition` keeps these pods at the older revision.
    Partition {
        /// How many.
        pods: i32,
    },
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Make this claim; one that exists already is fine.
    CreateClaim(Box<PersistentVolumeClaim>),
    /// Give the claim these owners, if it still is as it was seen.
    SetClaimOwners(Arc<PersistentVolumeClaim>, Vec<OwnerReference>),
    /// Make this pod.
    CreatePod(Box<Pod>),
    /// Delete this pod, if it still is the one that was seen.
    DeletePod(Arc<Pod>),
    /// Give the pod these owners, if it still is as it was seen.
    SetPodOwners(Arc<Pod>, Vec<OwnerReference>),
    /// Give the pod these labels besides those it has, if it still is as it was seen.
    SetPodLabels(Arc<Pod>, BTreeMap<String, String>),
}

/// One step, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What to do.
    pub action: Action,
    /// Why.
    pub reason: Reason,
    /// What to say on the StatefulSet once it is done.
    pub note: Option<Note>,
}

/// What the StatefulSet does next.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// To the history, before anything else.
    pub revisions: Vec<controller_revision::Action>,
    /// In order; the first failure ends the pass.
    pub steps: Vec<Step>,
    /// The status as of the snapshot.
    pub status: StatefulSetStatus,
    /// What it waits for.
    pub waiting: Vec<WaitingOn>,
    /// What to say of that on the StatefulSet.
    pub notes: Vec<Note>,
    /// When a pod will have been ready for minReadySeconds, or a pause is over.
    pub wake_at: Option<Timestamp>,
    /// To be remembered for the next plan.
    pub failures: Failures,
}

/// The decision in the making.
struct Planning<'a> {
    set: &'a StatefulSet,
    settings: Settings,
    history: History,
    /// Name of the revision that a rollout comes from.
    current: String,
    /// Name of the revision that a rollout goes to.
    update: String,
    /// Wanted ordinals, ascending, each with its pod if there is one.
    slots: Vec<Slot>,
    /// Pods of ordinals that are not wanted, highest first.
    condemned: Vec<Arc<Pod>>,
    claims: &'a [Arc<PersistentVolumeClaim>],
    now: Timestamp,
    steps: Vec<Step>,
    waiting: Vec<WaitingOn>,
    notes: Vec<Note>,
    failures: Failures,
}

/// Decides.
pub fn plan(snapshot: &Snapshot<'_>, now: Timestamp) -> Plan {
    let set = snapshot.stateful_set;
    let settings = Settings::of(set);
    let template = settings::template(set);
    let collisions = set.status.as_ref().and_then(|status| status.collision_count);
    let wanted = selector(set);
    let history = History::of::<StatefulSet>(&set.metadata, &wanted, &template, snapshot.revisions, collisions, LABEL_HASH);
    let update = controller_revision::name(&history.newest).to_owned();
    let current = set.status.as_ref().and_then(|status| status.current_revision.clone());
    let current = current.filter(|name| history.find(name).is_some()).unwrap_or_else(|| update.clone());
    let (mine, steps) = sort_out(set, &wanted, snapshot.pods);
    let (slots, condemned) = identity::arrange(set, &settings, mine);
    let mut planning = Planning {
        set,
        settings,
        history,
        current,
        update,
        slots,
        condemned,
        claims: snapshot.claims,
        now,
        steps,
        waiting: Vec::new(),
        notes: Vec::new(),
        failures: snapshot.failures.clone(),
    };
    if planning.steps.is_empty() && set.metadata.deletion_timestamp.is_none() {
        planning.retain_claims();
        if planning.keep_in_order() {
            planning.roll();
        }
    } else if !planning.steps.is_empty() {
        planning.waiting.push(WaitingOn::Ownership);
    }
    planning.finish()
}

impl Planning<'_> {
    fn finish(self) -> Plan {
        let status = self.status();
        let mut live: BTreeSet<String> = [self.current.clone(), self.update.clone()].into();
        let pods = self.slots.iter().filter_map(|slot| slot.pod.as_ref()).chain(&self.condemned);
        live.extend(pods.clone().map(|pod| identity::revision_of(pod).to_owned()));
        let mut revisions = self.history.actions.clone();
        revisions.extend(self.history.surplus(&live, self.settings.history_limit));
        let times = pods.filter_map(|pod| replica::available_at(pod, self.settings.min_ready_seconds));
        let pauses = self.waiting.iter().filter_map(|waiting| match waiting {
            WaitingOn::Pause { until, .. } => Some(*until),
            _ => None,
        });
        let wake_at = times.filter(|at| *at > self.now).chain(pauses).min();
        Plan { revisions, steps: self.steps, status, waiting: self.waiting, notes: self.notes, wake_at, failures: self.failures }
    }

    fn step(&mut self, action: Action, reason: Reason, note: Option<Note>) {
        self.steps.push(Step { action, reason, note });
    }

    fn delete(&mut self, pod: &Arc<Pod>, reason: Reason) {
        let (pod_name, set_name) = (owner::name(&pod.metadata), owner::name(&self.set.metadata));
        let note = Note::normal("SuccessfulDelete", format!("delete Pod {pod_name} in StatefulSet {set_name} successful"));
        self.step(Action::DeletePod(Arc::clone(pod)), reason, Some(note));
    }

    fn is_available(&self, pod: &Pod) -> bool {
        pod.metadata.deletion_timestamp.is_none() && replica::is_available(pod, self.settings.min_ready_seconds, self.now)
    }

    fn waits_for(&mut self, pod: &Pod) {
        let pod_name = owner::name(&pod.metadata).to_owned();
        let gone = pod.metadata.deletion_timestamp.is_some();
        self.waiting.push(if gone { WaitingOn::Gone { pod: pod_name } } else { WaitingOn::Available { pod: pod_name } });
    }
}
/// What is the set's, by its labels: nothing, if its selector cannot be read.
fn selector(set: &StatefulSet) -> Selector {
    Selector::from_typed(set.spec.as_ref().map(|spec| &spec.selector)).unwrap_or_else(|_| Selector::nothing())
}

/// Which pods are the set's, and which have to change hands. Only those with one of its names can be its own.
fn sort_out(set: &StatefulSet, wanted: &Selector, pods: &[Arc<Pod>]) -> (Vec<Arc<Pod>>, Vec<Step>) {
    let fits = |pod: &Pod| ordinal_of(owner::name(&set.metadata), pod).is_some();
    let (mine, changes) = claim::sort_out::<StatefulSet, _>(&set.metadata, wanted, pods, fits);
    let step = |change: HandOver<Pod>| Step {
        action: Action::SetPodOwners(change.object, change.owners),
        reason: if change.adopted { Reason::Adopt } else { Reason::Release },
        note: None,
    };
    (mine, changes.into_iter().map(step).collect())
}
