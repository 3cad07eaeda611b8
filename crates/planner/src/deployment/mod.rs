//! What a Deployment does next: which ReplicaSets to make, size, annotate, adopt or prune, and what to say about it.
//!
//! Behaviour follows <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/>. One difference is deliberate:
//! pods that a shrinking ReplicaSet has not deleted yet still count towards maxSurge, so the bound holds at every instant
//! and not only on paper.

mod member;
mod recreate;
mod revision;
mod rollback;
mod rolling;
mod scale;
mod settings;
mod status;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use windlass_api::selector::Selector;

use self::{member::Member, status::Progress};
pub use self::{
    revision::{NameTaken, creation_failed, name_taken, revision_of},
    settings::{bounds, replicas},
};
use crate::{claim, note::Note};

/// Everything the decision depends on, from one look at the caches.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot<'a> {
    /// The Deployment.
    pub deployment: &'a Deployment,
    /// The ReplicaSets of its namespace that it owns or could adopt; others may be among them.
    pub replica_sets: &'a [Arc<ReplicaSet>],
    /// By uid of a ReplicaSet: its pods that have not finished, terminating ones included. Only Recreate looks at them.
    pub running_pods: &'a BTreeMap<String, usize>,
}

/// Why a step is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// A ReplicaSet without an owner has our labels.
    Adopt,
    /// A ReplicaSet of ours no longer has our labels.
    Release,
    /// The template has no ReplicaSet yet.
    NewTemplate,
    /// The new ReplicaSet takes over the Deployment's annotations, its revision or minReadySeconds.
    Annotate,
    /// maxSurge leaves room for new pods.
    SurgeRoom,
    /// The new ReplicaSet is larger than the Deployment.
    AboveReplicas,
    /// Old pods that are not available go first: they cost nothing.
    UnhealthyOldPods,
    /// Enough pods are available without these old ones.
    AvailableEnough,
    /// Recreate: all old pods go before the first new one comes.
    RecreateDown,
    /// Recreate: no old pod is left.
    RecreateUp,
    /// `spec.replicas` changed and one ReplicaSet takes all of it.
    Scale,
    /// `spec.replicas` changed in the middle of a rollout: each ReplicaSet takes its share.
    ScaleInProportion,
    /// The new ReplicaSet has everything; old ones end.
    Saturated,
    /// More old ReplicaSets than revisionHistoryLimit.
    HistoryLimit,
}

/// What a Deployment waits for before it goes on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum WaitingOn {
    /// ReplicaSets change hands first.
    Ownership,
    /// The ReplicaSet controller has not seen the last resize of this one, or has not taken away all that is too many.
    ReplicaSetObserved {
        /// Its name.
        name: String,
    },
    /// All of maxSurge is used by pods that are not yet gone or not yet available.
    SurgeExhausted {
        /// Pods that exist or are asked for.
        pods: i32,
        /// Most that may.
        limit: i32,
    },
    /// No old pod may go before more new ones are available.
    NewPodsAvailable {
        /// New pods that are available.
        available: i32,
        /// New pods that are asked for.
        wanted: i32,
    },
    /// Recreate: old pods still run.
    OldPodsGone {
        /// How many.
        pods: i32,
    },
    /// `spec.paused`.
    Paused,
    /// The rollout is done but for pods that have yet to become available.
    Completion,
}

/// What to do to one ReplicaSet. Objects are whole and carry the resourceVersion they were decided on, as a guard.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Make it.
    Create(Box<ReplicaSet>),
    /// Replace it.
    Update(Box<ReplicaSet>),
    /// Delete it, if it is still as it was seen.
    Delete(Arc<ReplicaSet>),
}

/// One step, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What to do.
    pub action: Action,
    /// Why.
    pub reason: Reason,
    /// What to say on the Deployment once it is done.
    pub note: Option<Note>,
}

/// Another spec for the Deployment itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Rewrite {
    /// Whole, with the resourceVersion that it was decided on.
    pub deployment: Box<Deployment>,
    /// What to say once it is written.
    pub note: Note,
}

/// What the Deployment does next.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// In order; the first failure ends the pass.
    pub steps: Vec<Step>,
    /// What becomes of the Deployment itself after the steps, if its annotations ask for a rollback. Then nothing else is written.
    pub rewrite: Option<Rewrite>,
    /// Value of the revision annotation of the Deployment, if it has to change.
    pub revision: Option<String>,
    /// The status to have after the steps; equal to the present one if nothing changed.
    pub status: DeploymentStatus,
    /// What it waits for.
    pub waiting: Vec<WaitingOn>,
    /// When to look again although nothing happens.
    pub wake_at: Option<Timestamp>,
    /// What to say besides the steps.
    pub notes: Vec<Note>,
}

/// Decides.
pub fn plan(snapshot: &Snapshot<'_>, now: Timestamp) -> Plan {
    let deployment = snapshot.deployment;
    let mut rollout = Rollout::new(deployment, now);
    let selector = settings::selector(deployment);
    if selector.is_everything() {
        let text = "This deployment is selecting all pods. A non-empty selector is required.";
        rollout.notes.push(Note::warning("SelectingAll", text));
        rollout.status.observed_generation = deployment.metadata.generation;
        return rollout.finish(Progress::Untouched);
    }
    if !rollout.claim(&selector, snapshot.replica_sets) {
        rollout.waiting.push(WaitingOn::Ownership);
        return rollout.finish(Progress::Untouched);
    }
    if deployment.metadata.deletion_timestamp.is_some() {
        rollout.sync_revision(false);
        return rollout.finish(Progress::Counted);
    }
    rollout.note_pause();
    if settings::paused(deployment) {
        rollout.sync_revision(false);
        rollout.scale(snapshot.running_pods);
        rollout.prune_history();
        rollout.waiting.push(WaitingOn::Paused);
        return rollout.finish(Progress::Counted);
    }
    if let Some(wanted) = rollback::asked(deployment) {
        rollout.sync_revision(true);
        rollout.roll_back(wanted);
        return rollout.finish(Progress::Untouched);
    }
    if rollout.is_scaling_event() {
        rollout.sync_revision(false);
        if rollout.scale(snapshot.running_pods) {
            return rollout.finish(Progress::Counted);
        }
    }
    if settings::is_rolling_update(deployment) {
        rollout.sync_revision(true);
        rollout.roll();
    } else {
        rollout.sync_revision(false);
        rollout.recreate(snapshot.running_pods);
    }
    rollout.finish(Progress::Judged)
}

/// A plan in the making.
struct Rollout<'a> {
    deployment: &'a Deployment,
    now: Timestamp,
    /// The ReplicaSet of the present template, if there is one (or will be, by a step of this plan).
    new: Option<Member>,
    /// The others that it owns, oldest first.
    old: Vec<Member>,
    status: DeploymentStatus,
    rewrite: Option<Rewrite>,
    revision: Option<String>,
    waiting: Vec<WaitingOn>,
    notes: Vec<Note>,
    ownership: Vec<Step>,
    pruned: Vec<Step>,
}

impl<'a> Rollout<'a> {
    fn new(deployment: &'a Deployment, now: Timestamp) -> Self {
        Self {
            deployment,
            now,
            new: None,
            old: Vec::new(),
            status: deployment.status.clone().unwrap_or_default(),
            rewrite: None,
            revision: None,
            waiting: Vec::new(),
            notes: Vec::new(),
            ownership: Vec::new(),
            pruned: Vec::new(),
        }
    }

    /// Sorts out which ReplicaSets are ours; `false` if some must change hands before anything else.
    fn claim(&mut self, wanted: &Selector, replica_sets: &[Arc<ReplicaSet>]) -> bool {
        let (mut kept, changes) = claim::sort_out::<Deployment, _>(&self.deployment.metadata, wanted, replica_sets, |_| true);
        for change in changes {
            let mut changed = ReplicaSet::clone(&change.object);
            changed.metadata.owner_references = Some(change.owners).filter(|owners| !owners.is_empty());
            let reason = if change.adopted { Reason::Adopt } else { Reason::Release };
            self.ownership.push(Step { action: Action::Update(Box::new(changed)), reason, note: None });
        }
        kept.sort_by(|left, right| member::by_age(left, right));
        self.old = kept.into_iter().map(Member::existing).collect();
        self.ownership.is_empty()
    }

    fn members(&self) -> impl Iterator<Item = &Member> {
        self.old.iter().chain(&self.new)
    }

    fn finish(mut self, progress: Progress) -> Plan {
        let before = self.status.clone();
        let wake_at = match progress {
            Progress::Untouched => None,
            Progress::Counted | Progress::Judged => self.settle_status(&before, progress == Progress::Judged),
        };
        let mut steps = std::mem::take(&mut self.ownership);
        let new = self.new.take().into_iter();
        steps.extend(new.chain(std::mem::take(&mut self.old)).filter_map(Member::into_step));
        steps.append(&mut self.pruned);
        let Self { rewrite, revision, status, waiting, notes, .. } = self;
        Plan { steps, rewrite, revision, status, waiting, wake_at, notes }
    }
}
