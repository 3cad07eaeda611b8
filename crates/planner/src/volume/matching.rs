//! Which of the volumes that are there fits a claim best.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim},
    apimachinery::pkg::api::resource,
};
use windlass_api::{quantity::Quantity, selector::Selector};

use crate::{node, owner};

/// The smallest free volume that fits the claim and that the node reaches, if one is given.
pub(crate) fn smallest<'a>(
    claim: &PersistentVolumeClaim,
    volumes: &'a [Arc<PersistentVolume>],
    node: Option<&Node>,
) -> Option<&'a Arc<PersistentVolume>> {
    let selector = claim.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    let selector = selector.map_or_else(|| Ok(Selector::everything()), |selector| Selector::from_typed(Some(selector)));
    let selector = selector.unwrap_or_else(|_| Selector::nothing());
    let fits = |volume: &&Arc<PersistentVolume>| {
        let free = volume.spec.as_ref().is_some_and(|spec| spec.claim_ref.is_none())
            && volume.metadata.deletion_timestamp.is_none()
            && volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Available");
        free && selector.matches(&volume.metadata.labels.as_ref())
            && satisfies(volume, claim).is_ok()
            && node.is_none_or(|node| reaches(volume, node))
    };
    let key = |volume: &&Arc<PersistentVolume>| {
        (size(volume.spec.as_ref().and_then(|spec| spec.capacity.as_ref())), owner::name(&volume.metadata).to_owned())
    };
    volumes.iter().filter(fits).min_by_key(key)
}

/// Whether pods on the node can use the volume.
pub fn reaches(volume: &PersistentVolume, node: &Node) -> bool {
    let affinity = volume.spec.as_ref().and_then(|spec| spec.node_affinity.as_ref()?.required.as_ref());
    affinity.is_none_or(|required| node::matches_terms(&required.node_selector_terms, node))
}

/// Whether the volume has what the claim asks for: room, class, mode and access modes.
///
/// # Errors
/// What it lacks.
pub(super) fn satisfies(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Result<(), &'static str> {
    let (spec, wanted) = (volume.spec.clone().unwrap_or_default(), claim.spec.clone().unwrap_or_default());
    let request = size(wanted.resources.as_ref().and_then(|resources| resources.requests.as_ref()));
    let mode = |mode: &Option<String>| mode.clone().unwrap_or_else(|| "Filesystem".to_owned());
    let modes = spec.access_modes.as_deref().unwrap_or_default();
    if size(spec.capacity.as_ref()) < request {
        Err("requested PV is too small")
    } else if spec.storage_class_name.as_deref().unwrap_or_default() != wanted.storage_class_name.as_deref().unwrap_or_default() {
        Err("storageClassName does not match")
    } else if mode(&spec.volume_mode) != mode(&wanted.volume_mode) {
        Err("incompatible volumeMode")
    } else if !wanted.access_modes.iter().flatten().all(|mode| modes.contains(mode)) {
        Err("incompatible accessMode")
    } else {
        Ok(())
    }
}

fn size(resources: Option<&BTreeMap<String, resource::Quantity>>) -> Option<Quantity> {
    resources?.get("storage")?.0.parse().ok()
}
