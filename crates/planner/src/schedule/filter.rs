//! Whether a node can take a pod. The first filter that says no speaks for the node, in upstream's order.

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::api::core::v1::{Pod, PodSpec, Taint};

use super::{
    cluster::{Cluster, View},
    node_state::{HostPort, NodeState, host_ports},
    pod_affinity::{self, Neighbours, Wishes},
    priority,
    resources::Resources,
    spread::{self, Spread},
    verdict::Rejection,
    volumes::PodVolumes,
};
use crate::{
    node::{self, Effect},
    owner,
};

/// The pod to place, and what is worked out once for all nodes.
#[derive(Debug)]
pub(super) struct Candidate<'a> {
    pub(super) view: View<'a>,
    pub(super) pod: &'a Pod,
    pub(super) spec: &'a PodSpec,
    pub(super) requests: Resources,
    pub(super) for_score: Resources,
    pub(super) ports: Vec<HostPort>,
    /// The only nodes that it may go to, where it names them.
    pub(super) named: Option<BTreeSet<&'a str>>,
    volumes: &'a PodVolumes,
    volumes_in_use: bool,
    pub(super) wishes: Wishes,
    neighbours: Neighbours<'a>,
    pub(super) spread: Vec<Spread<'a>>,
}

static NO_SPEC: std::sync::LazyLock<PodSpec> = std::sync::LazyLock::new(PodSpec::default);

impl<'a> Candidate<'a> {
    pub(super) fn new(view: View<'a>, pod: &'a Pod, volumes: &'a PodVolumes) -> Self {
        let spec = pod.spec.as_ref().unwrap_or(&NO_SPEC);
        let wishes = Wishes::of(pod);
        Self {
            view,
            pod,
            spec,
            requests: Resources::of_pod(spec),
            for_score: Resources::of_pod_for_score(spec),
            ports: host_ports(spec).collect(),
            named: node::named(spec),
            volumes,
            volumes_in_use: volumes.are_in_use(pod, view),
            neighbours: pod_affinity::neighbours(view, pod, &wishes),
            wishes,
            spread: spread::count(view, pod, spec),
        }
    }
}

/// Why the node cannot take the pod; empty if it can.
pub(super) fn rejections(candidate: &Candidate<'_>, node: &NodeState) -> Vec<Rejection> {
    if candidate.named.as_ref().is_some_and(|named| !named.contains(node.name())) {
        return vec![Rejection::NotNamed];
    }
    let tolerations = candidate.spec.tolerations.as_deref().unwrap_or_default();
    if node.node().spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false) && !tolerates_cordon(candidate) {
        return vec![Rejection::Cordoned];
    }
    if node::untolerated(node.node(), tolerations, &[Effect::NoSchedule, Effect::NoExecute]).is_some() {
        return vec![Rejection::Tainted];
    }
    if !node::matches_required(candidate.spec, node.node()) {
        return vec![Rejection::NodeAffinity];
    }
    if candidate.ports.iter().any(|port| is_taken(port, node)) {
        return vec![Rejection::HostPort];
    }
    let missing = insufficient(candidate, node);
    if !missing.is_empty() {
        return missing;
    }
    if candidate.volumes_in_use {
        return vec![Rejection::VolumeInUse];
    }
    let more = candidate.volumes.rejection(node.node());
    let more = more.or_else(|| spread::rejection(&candidate.spread, node));
    more.or_else(|| candidate.neighbours.rejection(node)).into_iter().collect()
}

/// The same for one node as it would be. Pods for which room is made there count, if they come first; as they may never come, the
/// node has to take the pod without them too.
pub(super) fn rejections_beside_nominated(
    cluster: &Cluster,
    node: &NodeState,
    pod: &Pod,
    volumes: &PodVolumes,
) -> Vec<Rejection> {
    let at = |node: &NodeState| rejections(&Candidate::new(cluster.view_with(node), pod, volumes), node);
    let comes_first =
        |other: &&Arc<Pod>| priority(other) >= priority(pod) && owner::uid(&other.metadata) != owner::uid(&pod.metadata);
    let mut nominated = cluster.nominated_on(node.name()).filter(comes_first).peekable();
    if nominated.peek().is_some() {
        let mut fuller = node.clone();
        for other in nominated {
            fuller.insert(Arc::clone(other));
        }
        let rejections = at(&fuller);
        if !rejections.is_empty() {
            return rejections;
        }
    }
    at(node)
}

fn tolerates_cordon(candidate: &Candidate<'_>) -> bool {
    let cordon =
        Taint { key: "node.kubernetes.io/unschedulable".to_owned(), effect: "NoSchedule".to_owned(), ..Taint::default() };
    candidate.spec.tolerations.iter().flatten().any(|toleration| node::tolerates(toleration, &cordon))
}

pub(super) fn is_taken(wanted: &HostPort, node: &NodeState) -> bool {
    const ANY: &str = "0.0.0.0";
    let (protocol, port, address) = wanted;
    node.ports().iter().any(|(other_protocol, other_port, other)| {
        (protocol, port) == (other_protocol, other_port) && (address == other || address == ANY || other == ANY)
    })
}

fn insufficient(candidate: &Candidate<'_>, node: &NodeState) -> Vec<Rejection> {
    let mut missing = Vec::new();
    let most = node.allocatable().get("pods");
    if i64::try_from(node.pod_count()).unwrap_or(i64::MAX) >= most {
        missing.push(Rejection::TooManyPods);
    }
    for (resource, asked) in candidate.requests.iter().filter(|(_, asked)| *asked > 0) {
        let all = node.allocatable().get(resource);
        if asked > all.saturating_sub(node.requested().get(resource)) {
            missing.push(Rejection::Insufficient { resource: resource.to_owned(), for_good: asked > all });
        }
    }
    missing
}
