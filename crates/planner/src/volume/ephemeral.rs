//! A pod's own claims: one for each generic ephemeral volume, made for it and gone with it.
//!
//! Behaviour follows <https://kubernetes.io/docs/concepts/storage/ephemeral-volumes/#generic-ephemeral-volumes>.

use std::sync::Arc;

use k8s_openapi::{
    api::core::v1::{PersistentVolumeClaim, Pod},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use crate::{note::Note, owner};

/// What is to be done for the own claims of a pod.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EphemeralPlan {
    /// What is missing, in the order of the volumes.
    pub missing: Vec<OwnClaim>,
    /// Why the volumes behind those have to wait, and the pod with them.
    pub note: Option<Note>,
}

/// A claim to be made for a pod.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnClaim {
    /// Name of the volume in the pod.
    pub volume: String,
    /// What to create.
    pub claim: PersistentVolumeClaim,
}

impl OwnClaim {
    /// What to say when it could not be created.
    pub fn refused(&self, why: &str) -> Note {
        failed_binding(&self.volume, &format!("create PVC {}: {why}", owner::name(&self.claim.metadata)))
    }
}

/// Name of the claim behind a generic ephemeral volume.
pub(super) fn claim_name(pod: &Pod, volume: &str) -> String {
    format!("{}-{volume}", owner::name(&pod.metadata))
}

/// Checks that a claim with the name of one of the pod's own was made for it: somebody else's is not used instead.
///
/// # Errors
/// Says whose it is not, in upstream's words.
pub fn belongs_to(claim: &ObjectMeta, pod: &ObjectMeta) -> Result<(), String> {
    if owner::namespace(claim) == owner::namespace(pod) && owner::is_controlled_by(claim, owner::uid(pod)) {
        return Ok(());
    }
    let full_name = |meta: &ObjectMeta| format!("{}/{}", owner::namespace(meta), owner::name(meta));
    Err(format!("PVC {} was not created for pod {} (pod is not owner)", full_name(claim), full_name(pod)))
}

/// Compares the volumes of a pod with the claims of its namespace.
pub fn plan(pod: &Pod, claims: &[Arc<PersistentVolumeClaim>]) -> EphemeralPlan {
    let mut plan = EphemeralPlan::default();
    if pod.metadata.deletion_timestamp.is_some() {
        return plan;
    }
    for volume in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
        let Some(template) = volume.ephemeral.as_ref().and_then(|source| source.volume_claim_template.as_ref()) else { continue };
        let name = claim_name(pod, &volume.name);
        if let Some(present) = claims.iter().find(|claim| owner::name(&claim.metadata) == name) {
            if let Err(why) = belongs_to(&present.metadata, &pod.metadata) {
                plan.note = Some(failed_binding(&volume.name, &why));
                return plan;
            }
            continue;
        }
        let wanted = template.metadata.as_ref();
        let metadata = ObjectMeta {
            name: Some(name),
            namespace: pod.metadata.namespace.clone(),
            labels: wanted.and_then(|metadata| metadata.labels.clone()),
            annotations: wanted.and_then(|metadata| metadata.annotations.clone()),
            owner_references: Some(vec![owner::controller_reference::<Pod>(&pod.metadata)]),
            ..ObjectMeta::default()
        };
        let claim = PersistentVolumeClaim { metadata, spec: Some(template.spec.clone()), status: None };
        plan.missing.push(OwnClaim { volume: volume.name.clone(), claim });
    }
    plan
}

fn failed_binding(volume: &str, why: &str) -> Note {
    Note::warning("FailedBinding", format!("ephemeral volume {volume}: {why}"))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::json;

    use super::*;

    fn pod() -> Pod {
        let template = json!({
            "metadata": { "labels": { "kept": "short" } },
            "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
        });
        serde_json::from_value(json!({
            "metadata": { "name": "p", "namespace": "default", "uid": "p-uid" },
            "spec": {
                "containers": [],
                "volumes": [
                    { "name": "cache", "ephemeral": { "volumeClaimTemplate": template } },
                    { "name": "plain", "emptyDir": {} },
                    { "name": "work", "ephemeral": { "volumeClaimTemplate": template } },
                ],
            },
        }))
        .unwrap()
    }

    fn names(plan: &EphemeralPlan) -> Vec<&str> {
        plan.missing.iter().map(|own| owner::name(&own.claim.metadata)).collect()
    }

    #[test]
    fn each_ephemeral_volume_gets_a_claim_that_goes_with_the_pod() {
        let plan = plan(&pod(), &[]);
        assert_eq!((names(&plan), &plan.note), (vec!["p-cache", "p-work"], &None));
        let claim = &plan.missing[0].claim;
        assert_eq!(claim.metadata.labels.as_ref().unwrap()["kept"], "short");
        assert_eq!(belongs_to(&claim.metadata, &pod().metadata), Ok(()));
        let owner = &claim.metadata.owner_references.as_ref().unwrap()[0];
        assert_eq!((owner.kind.as_str(), owner.block_owner_deletion), ("Pod", Some(true)));
    }

    #[test]
    fn what_is_there_is_not_made_again() {
        let all = plan(&pod(), &[]).missing;
        let work = Arc::new(all[1].claim.clone());
        assert_eq!(names(&plan(&pod(), &[work])), ["p-cache"]);
    }

    #[test]
    fn a_claim_of_somebody_else_is_not_used_and_what_is_behind_it_waits() {
        let mut claim = plan(&pod(), &[]).missing.remove(0).claim;
        claim.metadata.owner_references = None;
        let plan = plan(&pod(), &[Arc::new(claim)]);
        let text = "ephemeral volume cache: PVC default/p-cache was not created for pod default/p (pod is not owner)";
        assert_eq!((names(&plan), &plan.note), (vec![], &Some(Note::warning("FailedBinding", text))));
    }

    #[test]
    fn a_pod_that_goes_gets_nothing() {
        let mut pod = pod();
        pod.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        assert_eq!(plan(&pod, &[]), EphemeralPlan::default());
    }
}
