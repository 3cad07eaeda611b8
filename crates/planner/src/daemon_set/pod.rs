//! The pods of a DaemonSet: what they look like, and which node each is for.

use k8s_openapi::api::{
    apps::v1::DaemonSet,
    core::v1::{NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec},
};
use windlass_api::names::LABEL_CONTROLLER_REVISION_HASH;

use super::{Planning, fit, settings};
use crate::{note::Note, owner, replica, replica_set};

/// Label and annotation with the generation of the template, which older clients read.
const TEMPLATE_GENERATION: &str = "pod-template-generation";
const ANNOTATION_TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// Hash of the template that the pod was made from.
pub(super) fn hash_of(pod: &Pod) -> &str {
    pod.metadata.labels.as_ref().and_then(|labels| labels.get(LABEL_CONTROLLER_REVISION_HASH)).map_or("", String::as_str)
}

/// The node that the pod is on, or is meant for while nobody has bound it.
pub(super) fn node_of(pod: &Pod) -> Option<&str> {
    replica::node_name(pod).or_else(|| {
        let affinity = pod.spec.as_ref()?.affinity.as_ref()?.node_affinity.as_ref()?;
        let terms = &affinity.required_during_scheduling_ignored_during_execution.as_ref()?.node_selector_terms;
        let fields = terms.iter().flat_map(|term| term.match_fields.iter().flatten());
        fields.into_iter().find(|field| field.key == "metadata.name")?.values.as_ref()?.first().map(String::as_str)
    })
}

/// Ties the pod to a node through affinity, so that the scheduler binds it and says why if it cannot.
fn pin(spec: &mut PodSpec, node: &str) {
    let affinity = spec.affinity.get_or_insert_default().node_affinity.get_or_insert_default();
    let required = affinity
        .required_during_scheduling_ignored_during_execution
        .get_or_insert_with(|| NodeSelector { node_selector_terms: Vec::new() });
    if required.node_selector_terms.is_empty() {
        required.node_selector_terms.push(NodeSelectorTerm::default());
    }
    let field = NodeSelectorRequirement {
        key: "metadata.name".to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![node.to_owned()]),
    };
    for term in &mut required.node_selector_terms {
        term.match_fields = Some(vec![field.clone()]);
    }
}

/// What is said when a pod has ended that never should.
pub(super) fn finished_note(pod: &Pod, node: &str) -> Note {
    let (namespace, name) = (owner::namespace(&pod.metadata), owner::name(&pod.metadata));
    if replica::phase(pod) == "Failed" {
        Note::warning(
            "FailedDaemonPod",
            format!("Found failed daemon pod {namespace}/{name} on node {node}, will try to kill it"),
        )
    } else {
        Note::normal(
            "SucceededDaemonPod",
            format!("Found succeeded daemon pod {namespace}/{name} on node {node}, will try to delete it"),
        )
    }
}

impl Planning<'_> {
    pub(super) fn new_pod(&self, node: &str) -> Pod {
        let mut pod = replica_set::new_pod::<DaemonSet>(&self.set.metadata, &settings::template(self.set));
        let labels = pod.metadata.labels.get_or_insert_default();
        labels.insert(LABEL_CONTROLLER_REVISION_HASH.to_owned(), self.hash.clone());
        let generation = owner::annotation(&self.set.metadata, ANNOTATION_TEMPLATE_GENERATION).map(str::to_owned);
        let generation = generation.or_else(|| self.set.metadata.generation.map(|generation| generation.to_string()));
        labels.extend(generation.map(|generation| (TEMPLATE_GENERATION.to_owned(), generation)));
        let spec = pod.spec.get_or_insert_default();
        spec.tolerations = Some(fit::tolerations(spec));
        pin(spec, node);
        pod
    }
}
