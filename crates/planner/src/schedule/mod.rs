//! Which node a pod goes to, and why not to the others.
//!
//! Two steps, as upstream: filters say which nodes can take the pod, scores say which of them takes it best.
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/kube-scheduler/>

mod admission;
mod cluster;
mod crowding;
mod filter;
mod node_state;
mod pod_affinity;
mod preemption;
mod resources;
mod score;
mod spread;
#[cfg(test)]
mod tests;
mod verdict;
mod volumes;

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;

pub use self::{
    admission::{Refusal, refusal},
    cluster::Cluster,
    node_state::NodeState,
    preemption::{Preemption, Victims},
    resources::Resources,
    verdict::{Rejection, Unschedulable},
    volumes::{PodVolumes, Storage},
};
use crate::owner;

/// The scheduler that pods name when they name none.
pub const DEFAULT_SCHEDULER: &str = "default-scheduler";

/// Where the pod goes.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// To this node.
    Bind {
        /// Its name.
        node: String,
        /// Its score among the nodes that could have taken it.
        score: i64,
    },
    /// Nowhere, for now; perhaps others have to go first.
    Unschedulable(Unschedulable),
}

/// Whether the pod waits for this scheduler to place it.
pub fn is_waiting(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let ours = spec.scheduler_name.as_deref().is_none_or(|name| name.is_empty() || name == DEFAULT_SCHEDULER);
    let gated = spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty());
    ours && !gated && crate::replica::node_name(pod).is_none() && crate::replica::is_active(pod)
}

/// `spec.priority` of the pod; 0 if it says nothing.
pub fn priority(pod: &Pod) -> i32 {
    pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0)
}

/// Whether the pod may find a place because another one gets one: it wants its company, or is spread evenly with it.
pub fn wants_company(pod: &Pod) -> bool {
    let spec = pod.spec.as_ref();
    let affinity = spec.and_then(|spec| spec.affinity.as_ref()?.pod_affinity.as_ref());
    let required = affinity.and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    let spread = spec.and_then(|spec| spec.topology_spread_constraints.as_ref());
    required.is_some_and(|terms| !terms.is_empty())
        || spread.is_some_and(|constraints| constraints.iter().any(|spread| spread.when_unsatisfiable == "DoNotSchedule"))
}

/// Decides for one pod with these volumes.
pub fn decide(cluster: &Cluster, pod: &Pod, volumes: &PodVolumes) -> Decision {
    let candidate = filter::Candidate::new(cluster.view(), pod, volumes);
    let mut unschedulable = Unschedulable::new(cluster.len());
    // With every node that does not take the pod: whether it could if it had no other.
    let mut rejected = Vec::new();
    let conflict = candidate.named.as_ref().is_some_and(BTreeSet::is_empty).then_some("pod affinity terms conflict");
    if let Some(why) = conflict.or_else(|| volumes.refusal()) {
        unschedulable.refuse(why);
        rejected.extend(cluster.nodes().map(|node| (node, false)));
        unschedulable.set_preemption(preemption::plan(cluster, pod, volumes, &rejected));
        return Decision::Unschedulable(unschedulable);
    }
    let rejections = |node: &NodeState| match cluster.nominated_on(node.name()).next() {
        Some(_) => filter::rejections_beside_nominated(cluster, node, pod, volumes),
        None => filter::rejections(&candidate, node),
    };
    // Where room was made for it, it goes.
    let nominated = cluster.nominated_node(owner::uid(&pod.metadata)).and_then(|name| cluster.node(name));
    let mut feasible: Vec<&NodeState> = nominated.into_iter().filter(|node| rejections(node).is_empty()).collect();
    if feasible.is_empty() {
        for node in cluster.nodes() {
            match rejections(node) {
                rejections if rejections.is_empty() => feasible.push(node),
                rejections => {
                    unschedulable.reject(&rejections);
                    rejected.push((node, !rejections.iter().any(Rejection::is_for_good)));
                }
            }
        }
    }
    if let Some((node, score)) = score::best(&candidate, &feasible) {
        return Decision::Bind { node: node.name().to_owned(), score };
    }
    unschedulable.set_preemption(preemption::plan(cluster, pod, volumes, &rejected));
    Decision::Unschedulable(unschedulable)
}
