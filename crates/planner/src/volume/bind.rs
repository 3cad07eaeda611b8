//! Claim and volume come to name each other.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ObjectReference, PersistentVolume, PersistentVolumeClaim};

use super::{Action, Plan, Reason, WaitingOn, claim::pending, matching};
use crate::{note::Note, owner};

const COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// On a claim or volume whose partner was found for it, rather than named by whoever made it.
pub(super) const BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";

/// Whether the claim was bound before.
pub(crate) fn is_complete(claim: &PersistentVolumeClaim) -> bool {
    owner::annotation(&claim.metadata, COMPLETED).is_some()
}

/// How a volume names the claim that it belongs to.
pub(super) fn reference(claim: &PersistentVolumeClaim) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("PersistentVolumeClaim".to_owned()),
        name: claim.metadata.name.clone(),
        namespace: claim.metadata.namespace.clone(),
        uid: claim.metadata.uid.clone(),
        resource_version: claim.metadata.resource_version.clone(),
        ..ObjectReference::default()
    }
}

/// The volume names this claim: by uid, or (made by hand) by name alone.
pub(crate) fn is_reserved_for(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let reference = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    reference.is_some_and(|reference| {
        let named = reference.name == claim.metadata.name && reference.namespace == claim.metadata.namespace;
        named && reference.uid.as_ref().is_none_or(|uid| uid.is_empty() || Some(uid) == claim.metadata.uid.as_ref())
    })
}

/// The volume, reserved for a claim that it fits.
pub(super) fn reserved(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> PersistentVolume {
    let mut reserved = volume.clone();
    reserved.spec.get_or_insert_default().claim_ref = Some(reference(claim));
    reserved.metadata.annotations.get_or_insert_default().insert(BY_CONTROLLER.to_owned(), "yes".to_owned());
    reserved
}

/// A volume is reserved for the claim: now the claim names it.
pub(super) fn to_reserved(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> Plan {
    let wanted = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    if wanted.is_some_and(|wanted| wanted.uid.as_ref().is_none_or(String::is_empty)) {
        // Whoever reserved it by name meant what they did, but not a volume that cannot serve.
        if let Err(why) = matching::satisfies(volume, claim) {
            return mismatch(claim, volume, why);
        }
        let mut reserved = volume.clone();
        reserved.spec.get_or_insert_default().claim_ref = Some(reference(claim));
        return Plan::step(Action::UpdateVolume(Box::new(reserved)), Reason::Match);
    }
    let mut bound = claim.clone();
    bound.spec.get_or_insert_default().volume_name = volume.metadata.name.clone();
    let annotations = bound.metadata.annotations.get_or_insert_default();
    annotations.insert(COMPLETED.to_owned(), "yes".to_owned());
    annotations.insert(BY_CONTROLLER.to_owned(), "yes".to_owned());
    Plan::step(Action::UpdateClaim(Box::new(bound)), Reason::Match)
}

/// The claim names the volume; they are bound once the volume names the claim, too.
pub(super) fn to_named(claim: &PersistentVolumeClaim, volume: &Arc<PersistentVolume>) -> Plan {
    let name = owner::name(&volume.metadata);
    let wanted = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    if !is_reserved_for(volume, claim) && wanted.is_some() {
        let note = Note::warning("FailedBinding", format!("volume \"{name}\" already bound to a different claim."));
        return pending(claim, Plan::wait(WaitingOn::Volume, Some(note)));
    }
    if !is_complete(claim)
        && let Err(why) = matching::satisfies(volume, claim)
    {
        return mismatch(claim, volume, why);
    }
    if wanted.is_none_or(|wanted| wanted.uid.as_ref().is_none_or(String::is_empty)) {
        let taken = if wanted.is_none() {
            reserved(volume, claim)
        } else {
            let mut reserved = PersistentVolume::clone(volume);
            reserved.spec.get_or_insert_default().claim_ref = Some(reference(claim));
            reserved
        };
        return Plan::step(Action::UpdateVolume(Box::new(taken)), Reason::Match);
    }
    if !is_complete(claim) {
        let mut bound = claim.clone();
        bound.metadata.annotations.get_or_insert_default().insert(COMPLETED.to_owned(), "yes".to_owned());
        return Plan::step(Action::UpdateClaim(Box::new(bound)), Reason::Match);
    }
    let mut changed = claim.clone();
    let status = changed.status.get_or_insert_default();
    let spec = volume.spec.clone().unwrap_or_default();
    status.phase = Some("Bound".to_owned());
    status.access_modes = spec.access_modes;
    status.capacity = spec.capacity;
    if changed.status == claim.status {
        Plan::default()
    } else {
        Plan::step(Action::UpdateClaimStatus(Box::new(changed)), Reason::Bound)
    }
}

fn mismatch(claim: &PersistentVolumeClaim, volume: &PersistentVolume, why: &str) -> Plan {
    let text = format!("Cannot bind to requested volume \"{}\": {why}", owner::name(&volume.metadata));
    pending(claim, Plan::wait(WaitingOn::Volume, Some(Note::warning("VolumeMismatch", text))))
}
