//! What a volume does next.

use std::sync::Arc;

use k8s_openapi::api::core::v1::PersistentVolume;

use super::{Action, Plan, Reason, Snapshot, WaitingOn, directory};
use crate::owner;

/// Finalizer that keeps a volume for as long as it is bound.
pub const PROTECTION: &str = "kubernetes.io/pv-protection";

/// Decides.
pub fn plan(volume: &Arc<PersistentVolume>, snapshot: &Snapshot<'_>) -> Plan {
    let spec = volume.spec.clone().unwrap_or_default();
    let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending");
    if volume.metadata.deletion_timestamp.is_some() {
        return release(volume, phase);
    }
    let Some(reference) = spec.claim_ref else { return with_phase(volume, "Available", Reason::Available) };
    let claim = snapshot
        .claims
        .iter()
        .find(|claim| claim.metadata.name == reference.name && claim.metadata.namespace == reference.namespace);
    let Some(uid) = reference.uid.filter(|uid| !uid.is_empty()) else {
        // Reserved by hand for a claim of that name, which has not come yet.
        return with_phase(volume, "Available", Reason::Available);
    };
    match claim.filter(|claim| owner::uid(&claim.metadata) == uid) {
        Some(claim) => {
            let named = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref());
            let bound = named == Some(owner::name(&volume.metadata));
            if bound { with_phase(volume, "Bound", Reason::Bound) } else { Plan::default() }
        }
        None if phase == "Released" && spec.persistent_volume_reclaim_policy.as_deref() == Some("Delete") => {
            Plan::step(Action::DeleteVolume(Arc::clone(volume)), Reason::Reclaim)
        }
        // A claim that was never bound leaves its reservation behind all the same.
        None => with_phase(volume, "Released", Reason::Released),
    }
}

/// A volume on its way out goes when it is not bound any more; a directory of ours is removed first, by its node.
fn release(volume: &PersistentVolume, phase: &str) -> Plan {
    let finalizers = volume.metadata.finalizers.clone().unwrap_or_default();
    if phase != "Bound" && finalizers.iter().any(|finalizer| finalizer == PROTECTION) {
        let mut free = volume.clone();
        free.metadata.finalizers = Some(finalizers.into_iter().filter(|finalizer| finalizer != PROTECTION).collect());
        return Plan::step(Action::UpdateVolume(Box::new(free)), Reason::Unused);
    }
    if finalizers.iter().any(|finalizer| finalizer == directory::DIRECTORY_FINALIZER) {
        return Plan::wait(WaitingOn::DirectoryRemoved, None);
    }
    Plan::default()
}

fn with_phase(volume: &PersistentVolume, phase: &str, reason: Reason) -> Plan {
    if volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some(phase) {
        return Plan::default();
    }
    let mut changed = volume.clone();
    changed.status.get_or_insert_default().phase = Some(phase.to_owned());
    Plan::step(Action::UpdateVolumeStatus(Box::new(changed)), reason)
}
