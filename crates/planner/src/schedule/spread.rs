//! Topology spread constraints: pods of a kind, evenly over hosts or zones.

use std::collections::BTreeMap;

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

/// Counts for every constraint of the pod.
pub(super) fn count<'a>(view: View<'a>, pod: &'a Pod, spec: &'a PodSpec) -> Vec<Spread<'a>> {
    let constraints = spec.topology_spread_constraints.iter().flatten();
    constraints.map(|constraint| count_one(view, pod, spec, constraint)).collect()
}

fn count_one<'a>(view: View<'a>, pod: &'a Pod, spec: &'a PodSpec, constraint: &'a TopologySpreadConstraint) -> Spread<'a> {
    let selector = selector(constraint, pod);
    let mut counts = BTreeMap::new();
    for node in view.nodes().filter(|node| takes_part(constraint, spec, node)) {
        let Some(value) = node.label(&constraint.topology_key) else { continue };
        let mine = node.pods().filter(|other| {
            replica::is_active(other)
                && owner::namespace(&other.metadata) == owner::namespace(&pod.metadata)
                && selector.matches(&other.metadata.labels.as_ref())
        });
        *counts.entry(value).or_default() += i64::try_from(mine.count()).unwrap_or(i64::MAX);
    }
    let own = i64::from(selector.matches(&pod.metadata.labels.as_ref()));
    Spread { constraint, counts, own }
}

/// The constraint's selector; `matchLabelKeys` narrow it to pods with the same values as this one.
fn selector(constraint: &TopologySpreadConstraint, pod: &Pod) -> Selector {
    let mut wanted = constraint.label_selector.clone();
    for key in constraint.match_label_keys.iter().flatten() {
        if let Some(value) = pod.metadata.labels.as_ref().and_then(|labels| labels.get(key)) {
            wanted.get_or_insert_default().match_labels.get_or_insert_default().insert(key.clone(), value.clone());
        }
    }
    Selector::from_typed(wanted.as_ref()).unwrap_or_else(|_| Selector::nothing())
}

fn takes_part(constraint: &TopologySpreadConstraint, spec: &PodSpec, node: &NodeState) -> bool {
    let honor_affinity = constraint.node_affinity_policy.as_deref() != Some("Ignore");
    if honor_affinity && !node::matches_required(spec, node.node()) {
        return false;
    }
    let honor_taints = constraint.node_taints_policy.as_deref() == Some("Honor");
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    !honor_taints || node::untolerated(node.node(), tolerations, &[Effect::NoSchedule, Effect::NoExecute]).is_none()
}

/// Why a required constraint keeps the pod off the node.
pub(super) fn rejection(spreads: &[Spread<'_>], node: &NodeState) -> Option<Rejection> {
    let required = spreads.iter().filter(|spread| spread.constraint.when_unsatisfiable == "DoNotSchedule");
    for spread in required {
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

/// How crowded the node is by the constraints that only wish; lower is better.
pub(super) fn crowding(spreads: &[Spread<'_>], node: &NodeState) -> i64 {
    let wished = spreads.iter().filter(|spread| spread.constraint.when_unsatisfiable != "DoNotSchedule");
    let counts = wished.map(|spread| {
        let value = node.label(&spread.constraint.topology_key);
        value.and_then(|value| spread.counts.get(value)).copied().unwrap_or(0)
    });
    counts.sum()
}
