//! Which pods go first when a ReplicaSet shrinks.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use crate::{owner, replica};

/// Lower goes first; absent or unreadable counts as 0.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// What makes a pod go before another, the weightiest first; the lowest goes first.
///
/// Ages count by their logarithm, so that of pods about as old, chance (the uid) decides and not the order of creation.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank<'a> {
    assigned: bool,
    phase: u8,
    ready: bool,
    /// Ready for minReadySeconds. Upstream does not look, and so takes an available pod while one is there that is not.
    available: bool,
    deletion_cost: i32,
    doubled_up: Reverse<usize>,
    ready_age: u32,
    restarts: Reverse<i32>,
    age: u32,
    uid: &'a str,
}

/// The `count` pods of `active` to delete. `related` are all pods under the same Deployment.
pub fn first_to_go(
    active: &[Arc<Pod>],
    related: &[Arc<Pod>],
    count: usize,
    min_ready_seconds: i32,
    now: Timestamp,
) -> Vec<Arc<Pod>> {
    if count == 0 {
        return Vec::new();
    }
    if count >= active.len() {
        return active.to_vec();
    }
    let mut crowd: BTreeMap<&str, usize> = BTreeMap::new();
    for pod in related.iter().filter(|pod| replica::is_active(pod)) {
        if let Some(node) = replica::node_name(pod) {
            *crowd.entry(node).or_default() += 1;
        }
    }
    let mut ranked: Vec<(Rank<'_>, &Arc<Pod>)> =
        active.iter().map(|pod| (rank(pod, &crowd, min_ready_seconds, now), pod)).collect();
    ranked.sort_by(|(left, _), (right, _)| left.cmp(right));
    ranked.into_iter().take(count).map(|(_, pod)| Arc::clone(pod)).collect()
}

fn rank<'a>(pod: &'a Pod, crowd: &BTreeMap<&str, usize>, min_ready_seconds: i32, now: Timestamp) -> Rank<'a> {
    let node = replica::node_name(pod);
    let ready = replica::is_ready(pod);
    Rank {
        assigned: node.is_some(),
        phase: match replica::phase(pod) {
            "Pending" => 0,
            "Unknown" => 1,
            _ => 2,
        },
        ready,
        available: replica::is_available(pod, min_ready_seconds, now),
        deletion_cost: owner::annotation(&pod.metadata, DELETION_COST).and_then(|cost| cost.parse().ok()).unwrap_or(0),
        doubled_up: Reverse(node.and_then(|node| crowd.get(node)).copied().unwrap_or(0)),
        ready_age: if ready { logarithm(replica::ready_since(pod), now) } else { 0 },
        restarts: Reverse(most_restarts(pod)),
        age: logarithm(pod.metadata.creation_timestamp.as_ref().map(|time| time.0), now),
        uid: owner::uid(&pod.metadata),
    }
}

/// Power of two of the age in nanoseconds, as upstream scales it; an unknown age is the youngest.
fn logarithm(since: Option<Timestamp>, now: Timestamp) -> u32 {
    let age = since.map_or(0, |since| now.duration_since(since).as_nanos().max(0));
    age.checked_ilog2().map_or(0, |power| power + 1)
}

fn most_restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    statuses.into_iter().flatten().map(|container| container.restart_count).max().unwrap_or(0)
}
