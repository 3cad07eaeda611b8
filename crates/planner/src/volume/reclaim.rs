//! What a volume does next.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};

use super::{Action, Plan, Reason, Snapshot, WaitingOn, bind, directory};
use crate::{note::Note, owner};

/// Finalizer that keeps a volume for as long as it is bound.
pub const PROTECTION: &str = "kubernetes.io/pv-protection";

/// Decides.
pub fn plan(volume: &Arc<PersistentVolume>, snapshot: &Snapshot<'_>) -> Plan {
    let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending");
    let going = volume.metadata.deletion_timestamp.is_some();
    let Some(reference) = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()) else {
        return if going { go(volume) } else { with_phase(volume, "Available", Reason::Available) };
    };
    let Some(uid) = reference.uid.as_deref().filter(|uid| !uid.is_empty()) else {
        // Reserved by hand for a claim of that name, which has not come yet.
        return if going { go(volume) } else { with_phase(volume, "Available", Reason::Available) };
    };
    let named = |claim: &&Arc<PersistentVolumeClaim>| {
        claim.metadata.name == reference.name && claim.metadata.namespace == reference.namespace
    };
    let claim = snapshot.claims.iter().find(named).filter(|claim| owner::uid(&claim.metadata) == uid);
    match claim {
        Some(claim) => keep(volume, claim, going),
        // A claim that was never bound leaves its reservation behind all the same.
        None if !matches!(phase, "Released" | "Failed") => with_phase(volume, "Released", Reason::Released),
        None if going => go(volume),
        None => match policy(volume) {
            "Delete" => Plan::step(Action::DeleteVolume(Arc::clone(volume)), Reason::Reclaim),
            "Recycle" => fail(volume, "VolumeFailedRecycle", "No recycler plugin found for the volume!", Reason::Unrecyclable),
            _ => Plan::default(),
        },
    }
}

/// What was to be done with the volume cannot be done: that is said once.
fn fail(volume: &PersistentVolume, event: &'static str, why: &str, reason: Reason) -> Plan {
    let mut plan = with_phase(volume, "Failed", reason);
    if let Some((Action::UpdateVolumeStatus(changed), _)) = &mut plan.step {
        changed.status.get_or_insert_default().message = Some(why.to_owned());
        plan.note = Some(Note::warning(event, why));
    }
    plan
}

/// What becomes of the data once nobody claims it.
fn policy(volume: &PersistentVolume) -> &str {
    volume.spec.as_ref().and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref()).unwrap_or("Retain")
}

/// The claim is there: bound to this volume, on the way to be, or to another one after all.
fn keep(volume: &PersistentVolume, claim: &PersistentVolumeClaim, going: bool) -> Plan {
    let named = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).filter(|name| !name.is_empty());
    match named {
        Some(name) if name == owner::name(&volume.metadata) => with_phase(volume, "Bound", Reason::Bound),
        Some(_) if owner::annotation(&volume.metadata, bind::BY_CONTROLLER).is_some() => {
            let mut free = volume.clone();
            free.spec.get_or_insert_default().claim_ref = None;
            free.metadata.annotations.get_or_insert_default().remove(bind::BY_CONTROLLER);
            Plan::step(Action::UpdateVolume(Box::new(free)), Reason::Available)
        }
        _ if going => go(volume),
        _ => Plan::default(),
    }
}

/// A volume on its way out that is not bound goes. A directory of ours is removed first, by its node, unless its data is to stay.
fn go(volume: &PersistentVolume) -> Plan {
    let finalizers = volume.metadata.finalizers.clone().unwrap_or_default();
    let kept = |finalizer: &String| match finalizer.as_str() {
        PROTECTION => false,
        directory::DIRECTORY_FINALIZER => policy(volume) == "Delete",
        _ => true,
    };
    let left: Vec<String> = finalizers.iter().filter(|finalizer| kept(finalizer)).cloned().collect();
    if left.len() < finalizers.len() {
        let mut free = volume.clone();
        free.metadata.finalizers = Some(left);
        return Plan::step(Action::UpdateVolume(Box::new(free)), Reason::Unused);
    }
    if directory::is_to_be_removed(volume) { Plan::wait(WaitingOn::DirectoryRemoved, None) } else { Plan::default() }
}

fn with_phase(volume: &PersistentVolume, phase: &str, reason: Reason) -> Plan {
    if volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some(phase) {
        return Plan::default();
    }
    let mut changed = volume.clone();
    let status = changed.status.get_or_insert_default();
    status.phase = Some(phase.to_owned());
    // That of the phase before.
    status.message = None;
    Plan::step(Action::UpdateVolumeStatus(Box::new(changed)), reason)
}
