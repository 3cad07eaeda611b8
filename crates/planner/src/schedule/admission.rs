//! What a kubelet checks once more of a pod that came to its node: whoever bound it there may not have looked.

use k8s_openapi::api::core::v1::Pod;

use super::{
    cluster::Cluster,
    filter::{Candidate, is_taken},
    node_state::NodeState,
    verdict::Rejection,
    volumes::PodVolumes,
};
use crate::node::{self, Effect};

/// Why a kubelet does not run the pod, in upstream's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// `reason` of the pod's status and of the Event: `NodePorts`, `OutOfcpu`.
    pub reason: String,
    /// What the Event says.
    pub message: String,
}

impl Refusal {
    fn predicate(name: &str, why: &impl std::fmt::Display) -> Self {
        Self { reason: name.to_owned(), message: format!("Predicate {name} failed: {why}") }
    }

    fn resource(name: &str, requested: i64, used: i64, capacity: i64) -> Self {
        let message =
            format!("Node didn't have enough resource: {name}, requested: {requested}, used: {used}, capacity: {capacity}");
        Self { reason: format!("OutOf{name}"), message }
    }
}

/// Why the node, with the pods that are placed on it, cannot run another one. `None` if it can, or is not known.
///
/// A cordon and taints that only keep pods from being placed are the scheduler's business alone.
pub fn refusal(cluster: &Cluster, node: &str, pod: &Pod) -> Option<Refusal> {
    let node = cluster.node(node)?;
    let volumes = PodVolumes::default();
    let candidate = Candidate::new(cluster.view(), pod, &volumes);
    if let Some(refusal) = out_of(&candidate, node) {
        return Some(refusal);
    }
    if !node::matches_required(candidate.spec, node.node()) {
        return Some(Refusal::predicate("NodeAffinity", &Rejection::NodeAffinity));
    }
    if candidate.ports.iter().any(|port| is_taken(port, node)) {
        return Some(Refusal::predicate("NodePorts", &Rejection::HostPort));
    }
    let tolerations = candidate.spec.tolerations.as_deref().unwrap_or_default();
    node::untolerated(node.node(), tolerations, &[Effect::NoExecute])
        .map(|_| Refusal::predicate("TaintToleration", &"node(s) had taints that the pod didn't tolerate"))
}

/// The first resource that is short. One that the node says nothing of is not the node's to give.
fn out_of(candidate: &Candidate<'_>, node: &NodeState) -> Option<Refusal> {
    let capacity = |resource: &str| node.allocatable().iter().find(|(name, _)| *name == resource).map(|(_, amount)| amount);
    let pods = i64::try_from(node.pod_count()).unwrap_or(i64::MAX);
    if let Some(most) = capacity("pods").filter(|most| pods >= *most) {
        return Some(Refusal::resource("pods", 1, pods, most));
    }
    candidate.requests.iter().filter(|(_, asked)| *asked > 0).find_map(|(resource, asked)| {
        let (all, used) = (capacity(resource)?, node.requested().get(resource));
        (asked > all.saturating_sub(used)).then(|| Refusal::resource(resource, asked, used, all))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, spec: Value) -> Pod {
        serde_json::from_value(json!({ "metadata": { "name": name, "uid": name }, "spec": spec })).unwrap()
    }

    fn asking(cpu: &str, port: i32) -> Value {
        json!({ "containers": [{ "name": "c", "resources": { "requests": { "cpu": cpu, "example.org/gpu": "1" } },
                                 "ports": [{ "containerPort": 80, "hostPort": port }] }] })
    }

    fn why(spec: Value) -> Option<(String, String)> {
        let node = json!({ "metadata": { "name": "n", "labels": { "disk": "ssd" } },
            "spec": { "unschedulable": true, "taints": [{ "key": "a", "effect": "NoSchedule" }] },
            "status": { "allocatable": { "cpu": "2", "pods": "2" } } });
        let mut cluster = Cluster::default();
        cluster.set_node(Arc::new(serde_json::from_value(node).unwrap()));
        cluster.place(Arc::new(pod("first", asking("500m", 8080))), "n");
        refusal(&cluster, "n", &pod("second", spec)).map(|refusal| (refusal.reason, refusal.message))
    }

    fn because(reason: &str, message: &str) -> Option<(String, String)> {
        Some((reason.to_owned(), message.to_owned()))
    }

    #[test]
    fn what_the_node_has_is_given() {
        assert_eq!(why(asking("1500m", 8081)), None);
        let elsewhere = asking("1600m", 8081);
        assert_eq!(
            why(elsewhere),
            because("OutOfcpu", "Node didn't have enough resource: cpu, requested: 1600, used: 500, capacity: 2000")
        );
    }

    #[test]
    fn the_reasons_of_upstream() {
        assert_eq!(
            why(asking("1", 8080)),
            because("NodePorts", "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports")
        );
        let mut choosy = asking("1", 8081);
        choosy["nodeSelector"] = json!({ "disk": "tape" });
        assert_eq!(
            why(choosy),
            because("NodeAffinity", "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector")
        );
    }

    #[test]
    fn so_many_pods_and_no_more() {
        let mut cluster = Cluster::default();
        let node = json!({ "metadata": { "name": "n" }, "spec": { "taints": [{ "key": "gone", "effect": "NoExecute" }] },
                           "status": { "allocatable": { "pods": "1" } } });
        cluster.set_node(Arc::new(serde_json::from_value(node).unwrap()));
        let second = pod("second", json!({ "containers": [] }));
        let untolerated = refusal(&cluster, "n", &second).unwrap();
        assert_eq!(untolerated.message, "Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate");
        cluster.place(Arc::new(pod("first", json!({ "containers": [] }))), "n");
        assert_eq!(refusal(&cluster, "n", &second).unwrap().reason, "OutOfpods");
        assert_eq!(refusal(&cluster, "unknown", &second), None);
    }
}
