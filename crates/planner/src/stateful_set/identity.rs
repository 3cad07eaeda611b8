//! Names, ordinals and revisions of a StatefulSet's pods.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    api::{
        apps::v1::StatefulSet,
        core::v1::{PersistentVolumeClaimVolumeSource, Pod, PodTemplateSpec, Volume},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use windlass_api::names::LABEL_CONTROLLER_REVISION_HASH;

use super::{Planning, Settings, Strategy, claims, settings};
use crate::{controller_revision, owner};

/// Label with the pod's own name.
pub const LABEL_POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
/// Label with the pod's ordinal.
pub const LABEL_POD_INDEX: &str = "apps.kubernetes.io/pod-index";

/// A wanted ordinal.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) ordinal: i32,
    pub(super) pod: Option<Arc<Pod>>,
}

/// The ordinal of a pod that is named for the set; `None` for any other.
pub fn ordinal_of(set_name: &str, pod: &Pod) -> Option<i32> {
    ordinal_in(set_name, owner::name(&pod.metadata))
}

/// The ordinal in the name of a pod that is named for the set.
pub(super) fn ordinal_in(set_name: &str, pod_name: &str) -> Option<i32> {
    let digits = pod_name.strip_prefix(set_name)?.strip_prefix('-')?;
    let canonical = digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    if canonical { digits.parse().ok() } else { None }
}

/// The labels by which a pod says who it is.
pub(super) fn labels(pod_name: &str, ordinal: i32) -> BTreeMap<String, String> {
    [(LABEL_POD_NAME.to_owned(), pod_name.to_owned()), (LABEL_POD_INDEX.to_owned(), ordinal.to_string())].into()
}

/// Name of the revision that the pod was made from.
pub(super) fn revision_of(pod: &Pod) -> &str {
    let labels = pod.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(LABEL_CONTROLLER_REVISION_HASH)).map_or("", String::as_str)
}

/// Wanted ordinals with their pods, and the pods of unwanted ones, highest first.
pub(super) fn arrange(set: &StatefulSet, settings: &Settings, pods: Vec<Arc<Pod>>) -> (Vec<Slot>, Vec<Arc<Pod>>) {
    let end = settings.start.saturating_add(settings.replicas.max(0));
    let mut slots: Vec<Slot> = (settings.start..end).map(|ordinal| Slot { ordinal, pod: None }).collect();
    let mut condemned = Vec::new();
    for pod in pods {
        let Some(ordinal) = ordinal_of(owner::name(&set.metadata), &pod) else { continue };
        let slot = usize::try_from(ordinal - settings.start).ok().and_then(|index| slots.get_mut(index));
        match slot {
            Some(slot) => slot.pod = Some(pod),
            None => condemned.push((ordinal, pod)),
        }
    }
    condemned.sort_by_key(|(ordinal, _)| std::cmp::Reverse(*ordinal));
    (slots, condemned.into_iter().map(|(_, pod)| pod).collect())
}

impl Planning<'_> {
    /// Name of the revision that the pod of an ordinal is to be of.
    pub(super) fn wanted_revision(&self, ordinal: i32) -> &str {
        match self.settings.strategy {
            Strategy::RollingUpdate { partition, .. } if ordinal < self.settings.start.saturating_add(partition) => &self.current,
            _ => &self.update,
        }
    }

    /// The pod of an ordinal, of the revision that it is to be of.
    pub(super) fn new_pod(&self, ordinal: i32) -> Pod {
        let revision = self.wanted_revision(ordinal);
        let template = self.history.find(revision).and_then(controller_revision::template_of);
        let template = template.unwrap_or_else(|| settings::template(self.set));
        let PodTemplateSpec { metadata, spec } = template;
        let metadata = metadata.unwrap_or_default();
        let name = format!("{}-{ordinal}", owner::name(&self.set.metadata));
        let mut labels = metadata.labels.unwrap_or_default();
        labels.extend(self::labels(&name, ordinal));
        labels.insert(LABEL_CONTROLLER_REVISION_HASH.to_owned(), revision.to_owned());
        let mut spec = spec.unwrap_or_default();
        spec.hostname = Some(name.clone());
        spec.subdomain = self.set.spec.as_ref().and_then(|spec| spec.service_name.clone());
        let volumes = spec.volumes.get_or_insert_default();
        for claim in claims::templates(self.set) {
            let volume = owner::name(&claim.metadata).to_owned();
            volumes.retain(|existing| existing.name != volume);
            let claim_name = claims::name_of(&claim.metadata, &name);
            let source = PersistentVolumeClaimVolumeSource { claim_name, read_only: None };
            volumes.push(Volume { name: volume, persistent_volume_claim: Some(source), ..Volume::default() });
        }
        if volumes.is_empty() {
            spec.volumes = None;
        }
        Pod {
            metadata: ObjectMeta {
                name: Some(name),
                namespace: self.set.metadata.namespace.clone(),
                labels: Some(labels),
                annotations: metadata.annotations,
                finalizers: metadata.finalizers,
                owner_references: Some(vec![owner::controller_reference::<StatefulSet>(&self.set.metadata)]),
                ..ObjectMeta::default()
            },
            spec: Some(spec),
            status: None,
        }
    }
}
