//! Which of the volumes that are there fits a claim best.

use std::sync::Arc;

use k8s_openapi::{
    api::core::v1::{PersistentVolume, PersistentVolumeClaim},
    apimachinery::pkg::api::resource,
};
use windlass_api::{quantity::Quantity, selector::Selector};

use crate::owner;

/// The smallest available volume that is large enough, of the same class and mode, with the access modes, on the node if one is given.
pub(super) fn smallest<'a>(
    claim: &PersistentVolumeClaim,
    volumes: &'a [Arc<PersistentVolume>],
    node: Option<&str>,
) -> Option<&'a Arc<PersistentVolume>> {
    let wanted = claim.spec.clone().unwrap_or_default();
    let request = size(wanted.resources.as_ref().and_then(|resources| resources.requests.as_ref()))?;
    let selector =
        wanted.selector.as_ref().map_or_else(|| Ok(Selector::everything()), |selector| Selector::from_typed(Some(selector)));
    let selector = selector.unwrap_or_else(|_| Selector::nothing());
    let fits = |volume: &&Arc<PersistentVolume>| {
        let Some(spec) = &volume.spec else { return false };
        let modes = spec.access_modes.as_deref().unwrap_or_default();
        let mode = |mode: &Option<String>| mode.clone().unwrap_or_else(|| "Filesystem".to_owned());
        let reachable = spec.node_affinity.as_ref().and_then(|affinity| affinity.required.as_ref()).is_none_or(|required| {
            node.is_none_or(|node| {
                let mut fields = required.node_selector_terms.iter().flat_map(|term| term.match_fields.iter().flatten());
                fields.all(|field| field.values.as_deref().unwrap_or_default().iter().any(|value| value == node))
            })
        });
        spec.claim_ref.is_none()
            && volume.metadata.deletion_timestamp.is_none()
            && spec.storage_class_name.as_deref().unwrap_or_default() == wanted.storage_class_name.as_deref().unwrap_or_default()
            && mode(&spec.volume_mode) == mode(&wanted.volume_mode)
            && wanted.access_modes.iter().flatten().all(|mode| modes.contains(mode))
            && size(spec.capacity.as_ref()).is_some_and(|capacity| capacity >= request)
            && selector.matches(&volume.metadata.labels.as_ref())
            && reachable
    };
    let key = |volume: &&Arc<PersistentVolume>| {
        (size(volume.spec.as_ref().and_then(|spec| spec.capacity.as_ref())), owner::name(&volume.metadata).to_owned())
    };
    volumes.iter().filter(fits).min_by_key(key)
}

fn size(resources: Option<&std::collections::BTreeMap<String, resource::Quantity>>) -> Option<Quantity> {
    resources?.get("storage")?.0.parse().ok()
}
