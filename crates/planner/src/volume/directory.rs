//! Volumes that are directories of a node.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        core::v1::{
            HostPathVolumeSource, Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PersistentVolume,
            PersistentVolumeClaim, PersistentVolumeSpec, VolumeNodeAffinity,
        },
        storage::v1::StorageClass,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use windlass_api::names::LOCAL_DIRECTORY;

use super::{bind, reclaim::PROTECTION};
use crate::owner;

/// `provisioner` of the classes that Windlass makes volumes for.
pub const PROVISIONER: &str = LOCAL_DIRECTORY;
/// Finalizer of a volume whose directory its node has to remove.
pub const DIRECTORY_FINALIZER: &str = LOCAL_DIRECTORY;
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
const HOSTNAME: &str = "kubernetes.io/hostname";

/// Whether the volume is a directory that was made for it, and not one that somebody else put there.
pub fn is_ours(volume: &PersistentVolume) -> bool {
    owner::annotation(&volume.metadata, PROVISIONED_BY) == Some(PROVISIONER)
}

/// Whether nothing but its directory keeps a deleted volume: now its node removes that.
pub fn is_to_be_removed(volume: &PersistentVolume) -> bool {
    let finalizers = volume.metadata.finalizers.as_deref().unwrap_or_default();
    volume.metadata.deletion_timestamp.is_some()
        && finalizers.iter().any(|finalizer| finalizer == DIRECTORY_FINALIZER)
        && !finalizers.iter().any(|finalizer| finalizer == PROTECTION)
}

/// Name of the node that the directory is on, by its host name; `None` if the machine's nodes share it.
pub fn host_of(volume: &PersistentVolume) -> Option<&str> {
    let required = volume.spec.as_ref()?.node_affinity.as_ref()?.required.as_ref()?;
    let mut expressions = required.node_selector_terms.iter().flat_map(|term| term.match_expressions.iter().flatten());
    expressions.find(|expression| expression.key == HOSTNAME)?.values.as_ref()?.first().map(String::as_str)
}

/// The volume for a claim, on a node if one is known.
pub(super) fn volume(
    claim: &PersistentVolumeClaim,
    class: &StorageClass,
    node: Option<&Node>,
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
            claim_ref: Some(bind::reference(claim)),
            host_path: Some(HostPathVolumeSource {
                path: format!("{}/{name}", directory.trim_end_matches('/')),
                type_: Some("DirectoryOrCreate".to_owned()),
            }),
            mount_options: class.mount_options.clone(),
            node_affinity: node.map(|node| VolumeNodeAffinity { required: Some(only(node)) }),
            persistent_volume_reclaim_policy: Some(reclaim),
            storage_class_name: class.metadata.name.clone(),
            volume_mode: spec.volume_mode.or_else(|| Some("Filesystem".to_owned())),
            ..PersistentVolumeSpec::default()
        }),
        status: None,
    }
}

fn only(node: &Node) -> NodeSelector {
    let label = node.metadata.labels.as_ref().and_then(|labels| labels.get(HOSTNAME)).cloned();
    let requirement = NodeSelectorRequirement {
        key: HOSTNAME.to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![label.unwrap_or_else(|| owner::name(&node.metadata).to_owned())]),
    };
    let term = NodeSelectorTerm { match_expressions: Some(vec![requirement]), ..NodeSelectorTerm::default() };
    NodeSelector { node_selector_terms: vec![term] }
}
