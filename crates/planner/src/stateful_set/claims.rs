//! The PersistentVolumeClaims of a StatefulSet's pods, and who takes them along when it goes.

use std::sync::Arc;

use k8s_openapi::{
    Resource as _,
    api::{
        apps::v1::StatefulSet,
        core::v1::{PersistentVolumeClaim, Pod},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};

use super::{Action, Planning, Reason, identity};
use crate::{note::Note, owner};

pub(super) fn templates(set: &StatefulSet) -> &[PersistentVolumeClaim] {
    set.spec.as_ref().and_then(|spec| spec.volume_claim_templates.as_deref()).unwrap_or_default()
}

/// Name of the claim that a template makes for a pod.
pub(super) fn name_of(template: &ObjectMeta, pod_name: &str) -> String {
    format!("{}-{pod_name}", owner::name(template))
}

/// Whether a claim of this name is that of one of the set's pods.
pub fn has_claim(set: &StatefulSet, claim: &str) -> bool {
    let pod_name = |template: &PersistentVolumeClaim| claim.strip_prefix(owner::name(&template.metadata))?.strip_prefix('-');
    let is_own = |pod_name: &str| identity::ordinal_in(owner::name(&set.metadata), pod_name).is_some();
    templates(set).iter().filter_map(pod_name).any(is_own)
}

impl Planning<'_> {
    /// Claims of the pod to come that go with its predecessor, or with the set's. The pod would find its data deleted under it.
    pub(super) fn leftover_claims(&self, pod_name: &str) -> Vec<Arc<PersistentVolumeClaim>> {
        let goes = |claim: &&Arc<PersistentVolumeClaim>| {
            let mut owners = claim.metadata.owner_references.iter().flatten();
            claim.metadata.deletion_timestamp.is_some()
                || owners.any(|reference| match &*reference.kind {
                    Pod::KIND => self.settings.delete_claims_with_scale && reference.name == pod_name,
                    _ => self.is_predecessor(reference),
                })
        };
        let names: Vec<String> = templates(self.set).iter().map(|template| name_of(&template.metadata, pod_name)).collect();
        let own = self.claims.iter().filter(|claim| names.iter().any(|name| name == owner::name(&claim.metadata)));
        own.filter(goes).cloned().collect()
    }

    /// Whether it is another set of the same name.
    fn is_predecessor(&self, reference: &OwnerReference) -> bool {
        let meta = &self.set.metadata;
        reference.kind == StatefulSet::KIND && reference.name == owner::name(meta) && reference.uid != owner::uid(meta)
    }

    /// Plans the claims that the pod of an ordinal lacks.
    pub(super) fn make_claims(&mut self, pod_name: &str) {
        let set = self.set;
        for template in templates(set) {
            let name = name_of(&template.metadata, pod_name);
            if self.claims.iter().any(|claim| owner::name(&claim.metadata) == name) {
                continue;
            }
            let mut claim = template.clone();
            let selected = set.spec.as_ref().and_then(|spec| spec.selector.match_labels.clone()).unwrap_or_default();
            claim.metadata.labels.get_or_insert_default().extend(selected);
            claim.metadata.name = Some(name.clone());
            claim.metadata.namespace.clone_from(&set.metadata.namespace);
            claim.metadata.owner_references =
                self.settings.delete_claims_with_set.then(|| vec![owner::controller_reference::<StatefulSet>(&set.metadata)]);
            claim.status = None;
            let set_name = owner::name(&set.metadata);
            let text = format!("create Claim {name} Pod {pod_name} in StatefulSet {set_name} success");
            let note = Note::normal("SuccessfulCreate", text);
            self.step(Action::CreateClaim(Box::new(claim)), Reason::MissingClaim, Some(note));
        }
    }

    /// Brings the owners of existing claims in line with the retention policy.
    pub(super) fn retain_claims(&mut self) {
        let wanted: Vec<Arc<Pod>> = self.slots.iter().filter_map(|slot| slot.pod.clone()).collect();
        let condemned = self.condemned.clone();
        let pods = wanted.iter().map(|pod| (pod, false)).chain(condemned.iter().map(|pod| (pod, true)));
        for (pod, is_condemned) in pods {
            for template in templates(self.set) {
                let name = name_of(&template.metadata, owner::name(&pod.metadata));
                let Some(claim) = self.claims.iter().find(|claim| owner::name(&claim.metadata) == name) else { continue };
                let present = claim.metadata.owner_references.as_deref().unwrap_or_default();
                if self.has_foreign_controller(present, pod) {
                    let text = format!(
                        "PersistentVolumeClaim {name} has a conflicting OwnerReference that acts as a managing controller, the \
                         retention policy is ignored for this claim"
                    );
                    self.notes.push(Note::warning("ConflictingController", text));
                }
                let owners = self.owners_of(present, pod, is_condemned);
                if owners != present {
                    self.step(Action::SetClaimOwners(Arc::clone(claim), owners), Reason::Retention, None);
                }
            }
        }
    }

    /// Whether somebody else says what becomes of the claim, although the set has a policy for it.
    fn has_foreign_controller(&self, owners: &[OwnerReference], pod: &Pod) -> bool {
        let is_of_set = |reference: &OwnerReference| {
            reference.kind == StatefulSet::KIND && reference.name == owner::name(&self.set.metadata)
                || reference.kind == Pod::KIND && reference.name == owner::name(&pod.metadata)
        };
        (self.settings.delete_claims_with_set || self.settings.delete_claims_with_scale)
            && owners.iter().any(|reference| reference.controller == Some(true) && !is_of_set(reference))
    }

    fn owners_of(&self, present: &[OwnerReference], pod: &Pod, is_condemned: bool) -> Vec<OwnerReference> {
        let (set_uid, pod_uid) = (owner::uid(&self.set.metadata), owner::uid(&pod.metadata));
        let is_foreign = self.has_foreign_controller(present, pod);
        let with_scale = is_condemned && self.settings.delete_claims_with_scale && !is_foreign;
        // A pod that goes takes its claim; until then the set does, if the policy says so.
        let with_set = self.settings.delete_claims_with_set && !with_scale && !is_foreign;
        // Predecessors of the same name are gone, and must not take it along.
        let is_former_pod =
            |reference: &OwnerReference| reference.kind == Pod::KIND && reference.name == owner::name(&pod.metadata);
        let mut owners = present.to_vec();
        owners.retain(|reference| match &*reference.uid {
            uid if uid == set_uid => with_set && reference.controller == Some(true),
            uid if uid == pod_uid => with_scale && reference.controller == Some(true),
            _ => !is_former_pod(reference) && !self.is_predecessor(reference),
        });
        let has = |uid: &str| owners.iter().any(|reference| reference.uid == uid);
        if with_set && !has(set_uid) {
            owners.push(owner::controller_reference::<StatefulSet>(&self.set.metadata));
        } else if with_scale && !has(pod_uid) {
            owners.push(owner::controller_reference::<Pod>(&pod.metadata));
        }
        owners
    }
}
