//! Volumes that are directories of a node.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        core::v1::{
            HostPathVolumeSource, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, ObjectReference, PersistentVolume,
            PersistentVolumeClaim, PersistentVolumeSpec, VolumeNodeAffinity,
        },
        storage::v1::StorageClass,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::reclaim::PROTECTION;
use crate::owner;

/// `provisioner` of the classes that Windlass makes volumes for.
pub const PROVISIONER: &str = "windlass.dev/local-directory";
/// Finalizer of a volume whose directory its node has to remove.
pub const DIRECTORY_FINALIZER: &str = "windlass.dev/local-directory";
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";

/// The volume for a claim, on a node if one is known.
pub(super) fn volume(
    claim: &PersistentVolumeClaim,
    class: &StorageClass,
    node: Option<&str>,
    claim_ref: ObjectReference,
    directory: &str,
) -> PersistentVolume {
    let name = format!("pvc-{}", owner::uid(&claim.metadata));
    let spec = claim.spec.clone().unwrap_or_default();
    let capacity = spec.resources.and_then(|resources| resources.requests).unwrap_or_default();
    let reclaim = class.reclaim_policy.clone().unwrap_or_else(|| "Delete".to_owned());
    PersistentVolume {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            annotations: Some(BTreeMap::from([(PROVISIONED_BY.to_owned(), PROVISIONER.to_owned())])),
            finalizers: Some(vec![PROTECTION.to_owned(), DIRECTORY_FINALIZER.to_owned()]),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeSpec {
            access_modes: spec.access_modes,
            capacity: Some(capacity.into_iter().filter(|(resource, _)| resource == "storage").collect()),
            claim_ref: Some(claim_ref),
            host_path: Some(HostPathVolumeSource {
                path: format!("{}/{name}", directory.trim_end_matches('/')),
                type_: Some("DirectoryOrCreate".to_owned()),
            }),
            node_affinity: node.map(|node| VolumeNodeAffinity { required: Some(only(node)) }),
            persistent_volume_reclaim_policy: Some(reclaim),
            storage_class_name: class.metadata.name.clone(),
            volume_mode: spec.volume_mode.or_else(|| Some("Filesystem".to_owned())),
            ..PersistentVolumeSpec::default()
        }),
        status: None,
    }
}

fn only(node: &str) -> NodeSelector {
    let requirement = NodeSelectorRequirement {
        key: "metadata.name".to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![node.to_owned()]),
    };
    let term = NodeSelectorTerm { match_fields: Some(vec![requirement]), ..NodeSelectorTerm::default() };
    NodeSelector { node_selector_terms: vec![term] }
}
