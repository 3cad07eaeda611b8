//! Which of the nodes that can take a pod takes it best, by upstream's scores and their weights.

mod images;
#[cfg(test)]
mod tests;

use k8s_openapi::api::core::v1::{Node, PodSpec};

use self::images::Images;
use super::{
    crowding::Crowding,
    filter::Candidate,
    node_state::NodeState,
    pod_affinity::{self, Attraction},
};
use crate::node;

/// Every single score lies between 0 and this.
const MAX: i64 = 100;
/// Weights of upstream's default profile; those of what a node has in itself are 1.
const WEIGHT_TAINTS: i64 = 3;
const WEIGHT_NODE_AFFINITY: i64 = 2;
const WEIGHT_POD_AFFINITY: i64 = 2;
const WEIGHT_SPREAD: i64 = 2;

/// The resources that are looked at, all alike.
const RESOURCES: [&str; 2] = ["cpu", "memory"];

/// A node's score, as far as it stands for itself, and what is raw in it and has to be compared with the other nodes'.
struct Raw<'a> {
    node: &'a NodeState,
    own: i64,
    taints: i64,
    node_affinity: i64,
    pod_affinity: i64,
    crowding: Option<i64>,
}

/// What of a pod is worked out once for all nodes.
struct Wishes<'a> {
    attraction: Attraction<'a>,
    crowding: Crowding<'a>,
    images: Images,
}

/// The best node and its score; of equals, the one with the fewest pods and then the first by name.
pub(super) fn best<'a>(candidate: &Candidate<'a>, feasible: &[&'a NodeState]) -> Option<(&'a NodeState, i64)> {
    if let [only] = feasible {
        return Some((only, MAX));
    }
    let wishes = Wishes {
        attraction: pod_affinity::attraction(candidate.view, candidate.pod, &candidate.wishes),
        crowding: Crowding::new(candidate, feasible),
        images: Images::new(candidate),
    };
    let raw: Vec<Raw<'a>> = feasible.iter().map(|node| raw(candidate, &wishes, node)).collect();
    let range = |of: fn(&Raw<'_>) -> Option<i64>| {
        let values = || raw.iter().filter_map(of);
        (values().min().unwrap_or(0), values().max().unwrap_or(0))
    };
    let (_, most_taints) = range(|raw| Some(raw.taints));
    let (_, most_preferred) = range(|raw| Some(raw.node_affinity));
    let pod_affinity = range(|raw| Some(raw.pod_affinity));
    let crowding = range(|raw| raw.crowding);
    let total = |raw: &Raw<'_>| {
        raw.own
            + WEIGHT_TAINTS * (MAX - part(raw.taints, most_taints))
            + WEIGHT_NODE_AFFINITY * part(raw.node_affinity, most_preferred)
            + WEIGHT_POD_AFFINITY * between(raw.pod_affinity, pod_affinity)
            + WEIGHT_SPREAD * raw.crowding.map_or(0, |crowded| uncrowded(crowded, crowding))
    };
    let scored = raw.iter().map(|raw| (total(raw), std::cmp::Reverse(raw.node.pod_count()), raw.node));
    // `max_by` would take the last of equals.
    let best = scored.reduce(|best, next| if (next.0, next.1) > (best.0, best.1) { next } else { best });
    best.map(|(score, _, node)| (node, score))
}

/// How much of the most it is.
fn part(value: i64, most: i64) -> i64 {
    if most == 0 { 0 } else { i64::try_from(i128::from(MAX) * i128::from(value) / i128::from(most)).unwrap_or(MAX) }
}

/// Where it lies between the least and the most; in floating point and cut off, as upstream.
fn between(value: i64, (least, most): (i64, i64)) -> i64 {
    if most == least { 0 } else { whole(100.0 * (real(value - least) / real(most - least))) }
}

/// The less crowded the better: only who has nobody near has it all.
fn uncrowded(crowded: i64, (least, most): (i64, i64)) -> i64 {
    if most == 0 { MAX } else { MAX * (most + least - crowded) / most }
}

#[allow(clippy::cast_precision_loss, reason = "as upstream's float64, and what is scored is far from where it matters")]
fn real(value: i64) -> f64 {
    value as f64
}

/// Cut off, as Go does it.
#[allow(clippy::cast_possible_truncation, reason = "a score is small, and this is what is asked for")]
pub(super) fn whole(value: f64) -> i64 {
    value as i64
}

fn raw<'a>(candidate: &Candidate<'_>, wishes: &Wishes<'_>, node: &'a NodeState) -> Raw<'a> {
    let taints = node.node().spec.as_ref().and_then(|spec| spec.taints.as_ref()).into_iter().flatten();
    let tolerations = candidate.spec.tolerations.as_deref().unwrap_or_default();
    let tolerated = |taint| tolerations.iter().any(|toleration| node::tolerates(toleration, taint));
    let disliked = taints.filter(|taint| taint.effect == "PreferNoSchedule" && !tolerated(taint)).count();
    Raw {
        node,
        own: room(candidate, node) + balance(candidate, node) + wishes.images.on(node),
        taints: i64::try_from(disliked).unwrap_or(i64::MAX),
        node_affinity: preference(candidate.spec, node.node()),
        pod_affinity: wishes.attraction.on(node),
        crowding: wishes.crowding.on(node),
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

/// How much is left when the pod is there.
fn room(candidate: &Candidate<'_>, node: &NodeState) -> i64 {
    let left = |resource: &&str| {
        let all = node.allocatable().get(resource);
        let used = node.requested_for_score().get(resource).saturating_add(candidate.for_score.get(resource));
        // What the node does not say that it has is not counted.
        (all != 0).then(|| if used > all { 0 } else { part(all - used, all) })
    };
    let left: Vec<i64> = RESOURCES.iter().filter_map(left).collect();
    left.iter().sum::<i64>() / i64::try_from(left.len().max(1)).unwrap_or(1)
}

/// Whether the pod makes it more even how much of each resource is used: 75 where it makes no difference. Who asks for nothing
/// gets nothing.
fn balance(candidate: &Candidate<'_>, node: &NodeState) -> i64 {
    if RESOURCES.iter().all(|resource| candidate.requests.get(resource) == 0) {
        return 0;
    }
    let used = |resource: &str| node.requested().get(resource);
    let with = evenness(node, |resource| used(resource).saturating_add(candidate.requests.get(resource)));
    MAX / 2 + (MAX / 2 + with - evenness(node, used)) / 2
}

fn evenness(node: &NodeState, used: impl Fn(&str) -> i64) -> i64 {
    let fraction = |resource: &&str| {
        let all = node.allocatable().get(resource);
        (all != 0).then(|| (real(used(resource)) / real(all)).min(1.0))
    };
    // The standard deviation of two values is half their distance.
    let deviation = match *RESOURCES.iter().filter_map(fraction).collect::<Vec<_>>().as_slice() {
        [first, second] => ((first - second) / 2.0_f64).abs(),
        _ => 0.0,
    };
    whole((1.0 - deviation) * 100.0)
}
