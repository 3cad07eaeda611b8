//! What a claim does next.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ObjectReference, PersistentVolume, PersistentVolumeClaim, Pod};

use super::{Action, Plan, Reason, Snapshot, WaitingOn, directory, matching};
use crate::{note::Note, owner, replica};

/// Finalizer that keeps a claim for as long as a pod uses it.
pub const PROTECTION: &str = "kubernetes.io/pvc-protection";
const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";

/// Decides.
pub fn plan(claim: &Arc<PersistentVolumeClaim>, snapshot: &Snapshot<'_>) -> Plan {
    let used_by: Vec<&Arc<Pod>> = snapshot.pods.iter().filter(|pod| uses(pod, owner::name(&claim.metadata))).collect();
    if claim.metadata.deletion_timestamp.is_some() {
        return release(claim, &used_by);
    }
    let spec = claim.spec.clone().unwrap_or_default();
    let volume_named = |name: &str| snapshot.volumes.iter().find(|volume| owner::name(&volume.metadata) == name);
    if let Some(name) = spec.volume_name.as_deref().filter(|name| !name.is_empty()) {
        return match volume_named(name) {
            Some(volume) => bound(claim, volume),
            None if owner::annotation(&claim.metadata, BIND_COMPLETED).is_some() => lost(claim),
            None => pending(claim, Plan::wait(WaitingOn::Volume, None)),
        };
    }
    if let Some(volume) = snapshot.volumes.iter().find(|volume| is_reserved_for(volume, claim)) {
        return bind(claim, volume);
    }
    let class = snapshot.classes.iter().find(|class| Some(owner::name(&class.metadata)) == spec.storage_class_name.as_deref());
    let late = class.is_some_and(|class| class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer"));
    let node = used_by.iter().filter(|pod| replica::is_active(pod)).find_map(|pod| replica::node_name(pod));
    if late && node.is_none() {
        let note = Note::normal("WaitForFirstConsumer", "waiting for first consumer to be created before binding");
        return pending(claim, Plan::wait(WaitingOn::FirstConsumer, Some(note)));
    }
    if let Some(volume) = matching::smallest(claim, snapshot.volumes, node) {
        let mut reserved = PersistentVolume::clone(volume);
        reserved.spec.get_or_insert_default().claim_ref = Some(reference(claim));
        reserved.metadata.annotations.get_or_insert_default().insert(BOUND_BY_CONTROLLER.to_owned(), "yes".to_owned());
        return Plan::step(Action::UpdateVolume(Box::new(reserved)), Reason::Match);
    }
    match class.filter(|class| class.provisioner == directory::PROVISIONER) {
        Some(class) => {
            let volume = directory::volume(claim, class, node, reference(claim), snapshot.directory);
            let text = format!("Successfully provisioned volume {}", owner::name(&volume.metadata));
            Plan {
                note: Some(Note::normal("ProvisioningSucceeded", text)),
                ..Plan::step(Action::CreateVolume(Box::new(volume)), Reason::Provision)
            }
        }
        None => {
            let text = match class {
                Some(_) => "no persistent volumes available for this claim",
                None => "no persistent volumes available for this claim and no storage class is set",
            };
            pending(claim, Plan::wait(WaitingOn::Volume, Some(Note::normal("FailedBinding", text))))
        }
    }
}

/// Whether the pod, not finished yet, mounts the claim.
fn uses(pod: &Pod, claim_name: &str) -> bool {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let mut claims = volumes.filter_map(|volume| volume.persistent_volume_claim.as_ref());
    !replica::is_finished(pod) && claims.any(|source| source.claim_name == claim_name)
}

fn release(claim: &PersistentVolumeClaim, used_by: &[&Arc<Pod>]) -> Plan {
    let finalizers = claim.metadata.finalizers.clone().unwrap_or_default();
    if !finalizers.iter().any(|finalizer| finalizer == PROTECTION) {
        return Plan::default();
    }
    if !used_by.is_empty() {
        return Plan::wait(WaitingOn::Consumers, None);
    }
    let mut free = claim.clone();
    free.metadata.finalizers = Some(finalizers.into_iter().filter(|finalizer| finalizer != PROTECTION).collect());
    Plan::step(Action::UpdateClaim(Box::new(free)), Reason::Unused)
}

fn reference(claim: &PersistentVolumeClaim) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("PersistentVolumeClaim".to_owned()),
        name: claim.metadata.name.clone(),
        namespace: claim.metadata.namespace.clone(),
        uid: claim.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

/// The volume names this claim: by uid, or (made by hand) by name alone.
fn is_reserved_for(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let reference = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    reference.is_some_and(|reference| {
        let named = reference.name == claim.metadata.name && reference.namespace == claim.metadata.namespace;
        named && reference.uid.as_ref().is_none_or(|uid| uid.is_empty() || Some(uid) == claim.metadata.uid.as_ref())
    })
}

/// The volume is reserved: now the claim names it.
fn bind(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> Plan {
    if volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()).is_some_and(|reference| reference.uid.is_none()) {
        let mut reserved = volume.clone();
        reserved.spec.get_or_insert_default().claim_ref = Some(reference(claim));
        return Plan::step(Action::UpdateVolume(Box::new(reserved)), Reason::Match);
    }
    let mut bound = claim.clone();
    bound.spec.get_or_insert_default().volume_name = volume.metadata.name.clone();
    let annotations = bound.metadata.annotations.get_or_insert_default();
    annotations.insert(BIND_COMPLETED.to_owned(), "yes".to_owned());
    annotations.insert(BOUND_BY_CONTROLLER.to_owned(), "yes".to_owned());
    Plan::step(Action::UpdateClaim(Box::new(bound)), Reason::Match)
}

/// Claim and volume name each other, or should.
fn bound(claim: &PersistentVolumeClaim, volume: &Arc<PersistentVolume>) -> Plan {
    if !is_reserved_for(volume, claim) {
        let taken = volume.spec.as_ref().is_some_and(|spec| spec.claim_ref.is_some());
        if taken {
            return pending(claim, Plan::wait(WaitingOn::Volume, None));
        }
        let mut reserved = PersistentVolume::clone(volume);
        reserved.spec.get_or_insert_default().claim_ref = Some(reference(claim));
        return Plan::step(Action::UpdateVolume(Box::new(reserved)), Reason::Match);
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

fn lost(claim: &PersistentVolumeClaim) -> Plan {
    let text = "Bound claim has lost its PersistentVolume. Data on the volume is lost!";
    let plan = with_phase(claim, "Lost", Reason::Lost);
    if plan.step.is_some() { Plan { note: Some(Note::warning("ClaimLost", text)), ..plan } } else { plan }
}

/// The plan, unless the status has to say first that the claim is pending.
fn pending(claim: &PersistentVolumeClaim, plan: Plan) -> Plan {
    let first = with_phase(claim, "Pending", Reason::Pending);
    if first.step.is_some() { Plan { note: plan.note, waiting: plan.waiting, ..first } } else { plan }
}

fn with_phase(claim: &PersistentVolumeClaim, phase: &str, reason: Reason) -> Plan {
    if claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some(phase) {
        return Plan::default();
    }
    let mut changed = claim.clone();
    changed.status.get_or_insert_default().phase = Some(phase.to_owned());
    Plan::step(Action::UpdateClaimStatus(Box::new(changed)), reason)
}
