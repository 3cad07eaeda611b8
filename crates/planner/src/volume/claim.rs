//! What a claim does next.

use std::{cmp::Reverse, sync::Arc};

use k8s_openapi::{
    api::{
        core::v1::{Node, PersistentVolumeClaim, Pod},
        storage::v1::StorageClass,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{Action, Plan, Reason, Snapshot, WaitingOn, belongs_to, bind, directory, matching};
use crate::{note::Note, owner, replica};

/// Finalizer that keeps a claim for as long as a pod uses it.
pub const PROTECTION: &str = "kubernetes.io/pvc-protection";
/// Annotation with the node that the scheduler has chosen for the first pod that uses the claim.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// Annotations that name the provisioner whose turn it is, the present one and the one from before.
const PROVISIONER: [&str; 2] = ["volume.kubernetes.io/storage-provisioner", "volume.beta.kubernetes.io/storage-provisioner"];

/// Annotation by which a claim named its class before there was a field.
const LEGACY_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
/// Annotations of a class that claims get when they name none, the present one and the one from before.
const DEFAULT_CLASS: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];

/// Decides.
pub fn plan(claim: &Arc<PersistentVolumeClaim>, snapshot: &Snapshot<'_>) -> Plan {
    let used_by: Vec<&Arc<Pod>> = snapshot.pods.iter().filter(|pod| uses(pod, &claim.metadata)).collect();
    if claim.metadata.deletion_timestamp.is_some() {
        return release(claim, &used_by);
    }
    let named = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).filter(|name| !name.is_empty());
    if let Some(name) = named {
        let volume = snapshot.volumes.iter().find(|volume| owner::name(&volume.metadata) == name);
        return match volume {
            Some(volume) => bind::to_named(claim, volume),
            None if bind::is_complete(claim) => lost(claim),
            None => pending(claim, Plan::wait(WaitingOn::Volume, None)),
        };
    }
    if let Some(volume) = snapshot.volumes.iter().find(|volume| bind::is_reserved_for(volume, claim)) {
        return bind::to_reserved(claim, volume);
    }
    let class = class_of(claim, snapshot.classes);
    let consumer = used_by.iter().find(|pod| replica::is_active(pod));
    let selected = owner::annotation(&claim.metadata, SELECTED_NODE);
    // A pod that was put on a node by hand chooses for its claims, too.
    let node_name = selected.or_else(|| consumer.and_then(|pod| replica::node_name(pod)));
    if class.is_some_and(|class| is_late(class)) && node_name.is_none() {
        return pending(claim, Plan::wait(WaitingOn::FirstConsumer, Some(first_consumer(consumer.copied()))));
    }
    let node = snapshot.nodes.iter().find(|node| Some(owner::name(&node.metadata)) == node_name).map(AsRef::as_ref);
    if let Some(volume) = matching::smallest(claim, snapshot.volumes, node) {
        return Plan::step(Action::UpdateVolume(Box::new(bind::reserved(volume, claim))), Reason::Match);
    }
    provision(claim, class.map(AsRef::as_ref), node, snapshot)
}

/// The class that a claim names, if there is one of that name.
pub(crate) fn class_of<'a>(claim: &PersistentVolumeClaim, classes: &'a [Arc<StorageClass>]) -> Option<&'a Arc<StorageClass>> {
    let name = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref())?;
    classes.iter().find(|class| owner::name(&class.metadata) == name)
}

/// The class for a claim that names none, not even the empty one: of several defaults the newest, and of those the first by name.
fn default_class<'a>(claim: &PersistentVolumeClaim, classes: &'a [Arc<StorageClass>]) -> Option<&'a Arc<StorageClass>> {
    let named = claim.spec.as_ref().is_some_and(|spec| spec.storage_class_name.is_some());
    if named || owner::annotation(&claim.metadata, LEGACY_CLASS).is_some() {
        return None;
    }
    let is_default =
        |class: &&Arc<StorageClass>| DEFAULT_CLASS.iter().any(|key| owner::annotation(&class.metadata, key) == Some("true"));
    let age = |class: &&Arc<StorageClass>| class.metadata.creation_timestamp.as_ref().map(|made| made.0);
    let key = |class: &&Arc<StorageClass>| (age(class), Reverse(class.metadata.name.clone()));
    classes.iter().filter(is_default).max_by_key(key)
}

/// Whether claims of the class wait until a pod that uses them has a node.
pub(crate) fn is_late(class: &StorageClass) -> bool {
    class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer")
}

fn first_consumer(consumer: Option<&Arc<Pod>>) -> Note {
    match consumer {
        Some(pod) => {
            Note::normal("WaitForPodScheduled", format!("waiting for pod {} to be scheduled", owner::name(&pod.metadata)))
        }
        None => Note::normal("WaitForFirstConsumer", "waiting for first consumer to be created before binding"),
    }
}

/// No volume fits: one has to be made, by us or by somebody else.
fn provision(
    claim: &Arc<PersistentVolumeClaim>,
    class: Option<&StorageClass>,
    node: Option<&Node>,
    snapshot: &Snapshot<'_>,
) -> Plan {
    let wait = |note: Note| pending(claim, Plan::wait(WaitingOn::Volume, Some(note)));
    let wanted = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref()).unwrap_or_default();
    if let Some(class) = default_class(claim, snapshot.classes) {
        // It came before there was a default class.
        let mut classed = PersistentVolumeClaim::clone(claim);
        classed.spec.get_or_insert_default().storage_class_name = class.metadata.name.clone();
        return Plan::step(Action::UpdateClaim(Box::new(classed)), Reason::DefaultClass);
    }
    let Some(class) = class else {
        return wait(if wanted.is_empty() {
            Note::normal("FailedBinding", "no persistent volumes available for this claim and no storage class is set")
        } else {
            Note::warning("ProvisioningFailed", format!("storageclass.storage.k8s.io \"{wanted}\" not found"))
        });
    };
    let provisioner = class.provisioner.as_str();
    if provisioner.starts_with("kubernetes.io/") {
        // Nobody makes volumes of this class. Where the scheduler counted on one that is taken by now, it has to choose again.
        if is_late(class) && owner::annotation(&claim.metadata, SELECTED_NODE).is_some() {
            let mut undecided = PersistentVolumeClaim::clone(claim);
            undecided.metadata.annotations.get_or_insert_default().remove(SELECTED_NODE);
            return Plan::step(Action::UpdateClaim(Box::new(undecided)), Reason::Undecided);
        }
        return wait(Note::warning("ProvisioningFailed", format!("no volume plugin matched name: {provisioner}")));
    }
    if PROVISIONER.iter().any(|key| owner::annotation(&claim.metadata, key) != Some(provisioner)) {
        let mut handed_over = PersistentVolumeClaim::clone(claim);
        let annotations = handed_over.metadata.annotations.get_or_insert_default();
        annotations.extend(PROVISIONER.map(|key| (key.to_owned(), provisioner.to_owned())));
        return Plan {
            note: Some(external(provisioner)),
            ..Plan::step(Action::UpdateClaim(Box::new(handed_over)), Reason::Provision)
        };
    }
    if provisioner != directory::PROVISIONER {
        return wait(external(provisioner));
    }
    if claim.spec.as_ref().and_then(|spec| spec.volume_mode.as_deref()) == Some("Block") {
        return wait(Note::warning("ProvisioningFailed", format!("{provisioner} does not support block volume provisioning")));
    }
    let volume = directory::volume(claim, class, node, snapshot.directory);
    let text = format!("Successfully provisioned volume {}", owner::name(&volume.metadata));
    Plan {
        note: Some(Note::normal("ProvisioningSucceeded", text)),
        ..Plan::step(Action::CreateVolume(Box::new(volume)), Reason::Provision)
    }
}

fn external(provisioner: &str) -> Note {
    let text = format!(
        "Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the system \
         administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered."
    );
    Note::normal("ExternalProvisioning", text)
}

/// Whether the pod, not finished yet, mounts the claim.
fn uses(pod: &Pod, claim: &ObjectMeta) -> bool {
    // A pod that waits for somebody else's claim to go, as it has the name of one of its own, does not use it.
    let is_meant = |own: bool| !own || belongs_to(claim, &pod.metadata).is_ok();
    !replica::is_finished(pod) && super::claims_of(pod).any(|(name, own)| name == owner::name(claim) && is_meant(own))
}

/// Only a pod with a node keeps its claim: the scheduler gives none to one whose claim goes, which would wait for itself for ever.
fn release(claim: &PersistentVolumeClaim, used_by: &[&Arc<Pod>]) -> Plan {
    let finalizers = claim.metadata.finalizers.clone().unwrap_or_default();
    if !finalizers.iter().any(|finalizer| finalizer == PROTECTION) {
        return Plan::default();
    }
    if used_by.iter().any(|pod| replica::node_name(pod).is_some()) {
        return Plan::wait(WaitingOn::Consumers, None);
    }
    let mut free = claim.clone();
    free.metadata.finalizers = Some(finalizers.into_iter().filter(|finalizer| finalizer != PROTECTION).collect());
    Plan::step(Action::UpdateClaim(Box::new(free)), Reason::Unused)
}

fn lost(claim: &PersistentVolumeClaim) -> Plan {
    let text = "Bound claim has lost its PersistentVolume. Data on the volume is lost!";
    let plan = with_phase(claim, "Lost", Reason::Lost);
    if plan.step.is_some() { Plan { note: Some(Note::warning("ClaimLost", text)), ..plan } } else { plan }
}

/// The plan, unless the status has to say first that the claim is pending.
pub(super) fn pending(claim: &PersistentVolumeClaim, plan: Plan) -> Plan {
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
