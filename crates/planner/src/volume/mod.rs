//! Which claim gets which volume: binding, provisioning of local directories, and what becomes of a volume without its claim.
//!
//! Behaviour follows <https://kubernetes.io/docs/concepts/storage/persistent-volumes/>. Volumes that are made here are directories of one
//! node: with `WaitForFirstConsumer` the scheduler chooses it along with the node of the first pod that uses the claim.

pub(crate) mod bind;
pub(crate) mod claim;
mod directory;
mod ephemeral;
pub(crate) mod matching;
mod reclaim;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, sync::Arc};

use k8s_openapi::api::{
    core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod, Volume},
    storage::v1::StorageClass,
};

pub use self::{
    claim::{PROTECTION as CLAIM_PROTECTION, SELECTED_NODE, plan as plan_claim},
    directory::{DIRECTORY_FINALIZER, PROVISIONER, host_of, is_ours, is_to_be_removed},
    ephemeral::{EphemeralPlan, OwnClaim, belongs_to, plan as plan_ephemeral},
    matching::reaches,
    reclaim::{PROTECTION as VOLUME_PROTECTION, plan as plan_volume},
};
use crate::note::Note;

/// The claims that a pod mounts, with whether each is the pod's own (a generic ephemeral volume).
pub fn claims_of(pod: &Pod) -> impl Iterator<Item = (Cow<'_, str>, bool)> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter_map(|volume| claim_of(pod, volume))
}

/// The claim behind one volume of a pod, with whether it is the pod's own.
pub fn claim_of<'a>(pod: &Pod, volume: &'a Volume) -> Option<(Cow<'a, str>, bool)> {
    match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(source), _) => Some((source.claim_name.as_str().into(), false)),
        (None, Some(_)) => Some((ephemeral::claim_name(pod, &volume.name).into(), true)),
        (None, None) => None,
    }
}

/// Everything the decision about one claim or volume depends on.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot<'a> {
    /// Every volume.
    pub volumes: &'a [Arc<PersistentVolume>],
    /// Every claim that a decision about a volume may need; for a decision about a claim it may be empty.
    pub claims: &'a [Arc<PersistentVolumeClaim>],
    /// Every class.
    pub classes: &'a [Arc<StorageClass>],
    /// Pods of the claim's namespace.
    pub pods: &'a [Arc<Pod>],
    /// Every node.
    pub nodes: &'a [Arc<Node>],
    /// Directory of the machine below which volumes are made.
    pub directory: &'a str,
}

/// Why a step is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// An available volume fits the claim.
    Match,
    /// The claim names no class, and by now there is a default one.
    DefaultClass,
    /// The class makes volumes, and the claim has a consumer.
    Provision,
    /// The two name each other; their status says so.
    Bound,
    /// The volume of the claim is gone.
    Lost,
    /// The claim has no volume yet.
    Pending,
    /// Nobody uses it any more: its deletion may go on.
    Unused,
    /// The volume that the scheduler counted on is taken: it has to choose a node again.
    Undecided,
    /// The volume has no claim.
    Available,
    /// The claim of the volume is gone.
    Released,
    /// The claim is gone, and so is the volume by its reclaim policy.
    Reclaim,
    /// The claim is gone, and nobody here can make the volume as new, as its reclaim policy says.
    Unrecyclable,
}

/// What a claim or volume waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WaitingOn {
    /// `WaitForFirstConsumer`: a pod that uses the claim and has a node.
    FirstConsumer,
    /// A volume that fits.
    Volume,
    /// Pods that use the claim to end.
    Consumers,
    /// The node to remove the directory.
    DirectoryRemoved,
}

/// What to do. Objects are whole and carry the resourceVersion they were decided on, as a guard.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Make this volume; one that exists already is fine.
    CreateVolume(Box<PersistentVolume>),
    /// Replace the volume.
    UpdateVolume(Box<PersistentVolume>),
    /// Replace the status of the volume.
    UpdateVolumeStatus(Box<PersistentVolume>),
    /// Delete the volume, if it still is the one that was seen.
    DeleteVolume(Arc<PersistentVolume>),
    /// Replace the claim.
    UpdateClaim(Box<PersistentVolumeClaim>),
    /// Replace the status of the claim.
    UpdateClaimStatus(Box<PersistentVolumeClaim>),
}

/// What to do next about one claim or volume: at most one step, since the next depends on its outcome.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// What to do, and why.
    pub step: Option<(Action, Reason)>,
    /// What to say, once.
    pub note: Option<Note>,
    /// What it waits for.
    pub waiting: Option<WaitingOn>,
}

impl Plan {
    fn step(action: Action, reason: Reason) -> Self {
        Self { step: Some((action, reason)), ..Self::default() }
    }

    fn wait(on: WaitingOn, note: Option<Note>) -> Self {
        Self { waiting: Some(on), note, ..Self::default() }
    }
}
