//! Topology spread constraints that have to hold: pods of a kind, evenly over hosts or zones.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::core::v1::{Pod, PodSpec, TopologySpreadConstraint};
use windlass_api::selector::Selector;

use super::{cluster::View, node_state::NodeState, verdict::Rejection};
use crate::{
    node::{self, Effect},
    owner, replica,
};

/// One constraint, and how many pods it counts in each domain.
#[derive(Debug)]
pub(super) struct Spread<'a> {
    constraint: &'a TopologySpreadConstraint,
    counts: BTreeMap<&'a str, i64>,
    /// The pod counts itself.
    own: i64,
}

/// Counts for every constraint of the pod that has to hold. A node that lacks a label by which any of them counts has no part.
pub(super) fn count<'a>(view: View<'a>, pod: &Pod, spec: &'a PodSpec) -> Vec<Spread<'a>> {
    let constraints = spec.topology_spread_constraints.iter().flatten();
    let required: Vec<_> = constraints.filter(|constraint| is_required(constraint)).collect();
    required.iter().map(|constraint| count_one(view, pod, spec, constraint, &required)).collect()
}

/// Whether the constraint has to hold; the others are wishes.
pub(super) fn is_required(constraint: &TopologySpreadConstraint) -> bool {
    constraint.when_unsatisfiable == "DoNotSchedule"
}

fn count_one<'a>(
    view: View<'a>,
    pod: &Pod,
    spec: &PodSpec,
    constraint: &'a TopologySpreadConstraint,
    required: &[&TopologySpreadConstraint],
) -> Spread<'a> {
    let selector = selector(constraint, pod);
    let mut counts = BTreeMap::new();
    let has_labels = |node: &&NodeState| required.iter().all(|constraint| node.label(&constraint.topology_key).is_some());
    for node in view.nodes().filter(has_labels).filter(|node| takes_part(constraint, spec, node)) {
        let Some(value) = node.label(&constraint.topology_key) else { continue };
        *counts.entry(value).or_default() += selected(&selector, owner::namespace(&pod.metadata), node);
    }
    let own = i64::from(selector.matches(&pod.metadata.labels.as_ref()));
    Spread { constraint, counts, own }
}

/// How many pods of the node a constraint with this selector counts; as upstream, one that selects everything counts none.
pub(super) fn selected(selector: &Selector, namespace: &str, node: &NodeState) -> i64 {
    if selector.is_everything() {
        return 0;
    }
    let counts = |other: &&Arc<Pod>| {
        replica::is_active(other)
            && owner::namespace(&other.metadata) == namespace
            && selector.matches(&other.metadata.labels.as_ref())
    };
    i64::try_from(node.pods().filter(counts).count()).unwrap_or(i64::MAX)
}

/// The constraint's selector; `matchLabelKeys` narrow it to pods with the same values as this one.
pub(super) fn selector(constraint: &TopologySpreadConstraint, pod: &Pod) -> Selector {
    let mut wanted = constraint.label_selector.clone();
    for key in constraint.match_label_keys.iter().flatten() {
        if let Some(value) = pod.metadata.labels.as_ref().and_then(|labels| labels.get(key)) {
            wanted.get_or_insert_default().match_labels.get_or_insert_default().insert(key.clone(), value.clone());
        }
    }
    Selector::from_typed(wanted.as_ref()).unwrap_or_else(|_| Selector::nothing())
}

/// Whether the node is one of those over which the constraint spreads pods.
pub(super) fn takes_part(constraint: &TopologySpreadConstraint, spec: &PodSpec, node: &NodeState) -> bool {
    let honor_affinity = constraint.node_affinity_policy.as_deref() != Some("Ignore");
    if honor_affinity && !node::matches_required(spec, node.node()) {
        return false;
    }
    let honor_taints = constraint.node_taints_policy.as_deref() == Some("Honor");
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    !honor_taints || node::untolerated(node.node(), tolerations, &[Effect::NoSchedule, Effect::NoExecute]).is_none()
}

/// Why a constraint keeps the pod off the node.
pub(super) fn rejection(spreads: &[Spread<'_>], node: &NodeState) -> Option<Rejection> {
    for spread in spreads {
        let Some(value) = node.label(&spread.constraint.topology_key) else { return Some(Rejection::SpreadLabel) };
        let domains = i64::try_from(spread.counts.len()).unwrap_or(i64::MAX);
        let enough = i64::from(spread.constraint.min_domains.unwrap_or(1)) <= domains;
        let least = if enough { spread.counts.values().copied().min().unwrap_or(0) } else { 0 };
        let here = spread.counts.get(value).copied().unwrap_or(0);
        if here + spread.own - least > i64::from(spread.constraint.max_skew) {
            return Some(Rejection::Spread);
        }
    }
    None
}
