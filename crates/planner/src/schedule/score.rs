//! Which of the nodes that can take a pod takes it best.

#[cfg(test)]
mod tests;

use k8s_openapi::api::core::v1::{Node, Pod, PodSpec};

use super::{
    filter::Candidate,
    node_state::NodeState,
    pod_affinity::{self, Attraction},
    spread,
};
use crate::{node, owner};

/// Every single score lies between 0 and this.
const MAX: i64 = 100;
/// Weights of upstream's default profile.
const WEIGHT_TAINTS: i64 = 3;
const WEIGHT_NODE_AFFINITY: i64 = 2;
const WEIGHT_POD_AFFINITY: i64 = 2;
const WEIGHT_SPREAD: i64 = 2;

/// What is raw in one node's score and has to be compared with the other nodes'.
struct Raw<'a> {
    node: &'a NodeState,
    resources: i64,
    taints: i64,
    node_affinity: i64,
    pod_affinity: i64,
    crowding: i64,
    siblings: i64,
}

/// The best node and its score; of equals, the one with the fewest pods and then the first by name.
pub(super) fn best<'a>(candidate: &Candidate<'_>, feasible: &[&'a NodeState]) -> Option<(&'a NodeState, i64)> {
    if let [only] = feasible {
        return Some((only, MAX));
    }
    let attraction = pod_affinity::attraction(candidate.view, candidate.pod, &candidate.wishes);
    let raw: Vec<Raw<'a>> = feasible.iter().map(|node| raw(candidate, &attraction, node)).collect();
    let range = |of: fn(&Raw<'_>) -> i64| {
        let values = || raw.iter().map(of);
        (values().min().unwrap_or(0), values().max().unwrap_or(0))
    };
    let taints = range(|raw| raw.taints);
    let node_affinity = range(|raw| raw.node_affinity);
    let pod_affinity = range(|raw| raw.pod_affinity);
    let crowding = range(|raw| raw.crowding);
    let siblings = range(|raw| raw.siblings);
    let total = |raw: &Raw<'_>| {
        raw.resources
            + WEIGHT_TAINTS * low(raw.taints, taints)
            + WEIGHT_NODE_AFFINITY * high(raw.node_affinity, node_affinity)
            + WEIGHT_POD_AFFINITY * high(raw.pod_affinity, pod_affinity)
            + WEIGHT_SPREAD * low(raw.crowding, crowding)
            + WEIGHT_SPREAD * low(raw.siblings, siblings)
    };
    let scored = raw.iter().map(|raw| (total(raw), std::cmp::Reverse(raw.node.pod_count()), raw.node));
    // `max_by` would take the last of equals.
    let best = scored.reduce(|best, next| if (next.0, next.1) > (best.0, best.1) { next } else { best });
    best.map(|(score, _, node)| (node, score))
}

/// More is better.
fn high(value: i64, (least, most): (i64, i64)) -> i64 {
    if most == least { 0 } else { MAX * (value - least) / (most - least) }
}

/// Less is better.
fn low(value: i64, (least, most): (i64, i64)) -> i64 {
    if most == least { MAX } else { MAX * (most - value) / (most - least) }
}

fn raw<'a>(candidate: &Candidate<'_>, attraction: &Attraction<'_>, node: &'a NodeState) -> Raw<'a> {
    let taints = node.node().spec.as_ref().and_then(|spec| spec.taints.as_ref()).into_iter().flatten();
    let tolerations = candidate.spec.tolerations.as_deref().unwrap_or_default();
    let tolerated = |taint| tolerations.iter().any(|toleration| node::tolerates(toleration, taint));
    let disliked = taints.filter(|taint| taint.effect == "PreferNoSchedule" && !tolerated(taint)).count();
    Raw {
        node,
        resources: room(candidate, node),
        taints: i64::try_from(disliked).unwrap_or(i64::MAX),
        node_affinity: preference(candidate.spec, node.node()),
        pod_affinity: attraction.on(node),
        crowding: spread::crowding(&candidate.spread, node),
        siblings: if candidate.spread.is_empty() { siblings(candidate.pod, node) } else { 0 },
    }
}

/// Sum of the weights of the preferences that the node fulfils.
fn preference(spec: &PodSpec, node: &Node) -> i64 {
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let preferred = affinity.and_then(|affinity| affinity.preferred_during_scheduling_ignored_during_execution.as_ref());
    let fulfilled =
        preferred.into_iter().flatten().filter(|term| node::matches_terms(std::slice::from_ref(&term.preference), node));
    fulfilled.map(|term| i64::from(term.weight)).sum()
}

/// Least allocated, and evenly so: up to 100 for free room, up to 100 for CPU and memory being used alike.
fn room(candidate: &Candidate<'_>, node: &NodeState) -> i64 {
    let share = |resource: &str| {
        let all = node.allocatable().get(resource);
        let used = node.requested_for_score().get(resource).saturating_add(candidate.for_score.get(resource));
        if all <= 0 || used > all {
            MAX
        } else {
            i64::try_from(i128::from(used) * i128::from(MAX) / i128::from(all)).unwrap_or(MAX)
        }
    };
    let (cpu, memory) = (share("cpu"), share("memory"));
    let free = (2 * MAX - cpu - memory) / 2;
    // The standard deviation of two values is half their distance.
    let balance = MAX - (cpu - memory).abs() / 2;
    free + balance
}

/// Pods of the same owner that are there: without constraints of its own, a workload spreads over hosts.
fn siblings(pod: &Pod, node: &NodeState) -> i64 {
    owner::controller_uid(&pod.metadata).map_or(0, |owner| node.siblings(owner))
}
