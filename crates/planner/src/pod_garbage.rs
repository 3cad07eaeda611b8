//! Pods that nobody will ever finish: of nodes that are gone, deleted before they had a node, or simply too many that ended.

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::api::core::v1::Pod;

use crate::replica;

/// Why a pod is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Its node is gone.
    NodeGone,
    /// It was deleted before it had a node: no kubelet will end it.
    NeverScheduled,
    /// More pods have ended than are kept; it is among the oldest.
    TooManyFinished,
}

/// A pod to delete without grace.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The pod.
    pub pod: Arc<Pod>,
    /// Why.
    pub reason: Reason,
    /// It has to be marked failed first: it did not end by itself.
    pub fail: bool,
}

/// Decides. `gone` are names of nodes that have been missing for a while.
pub fn plan(pods: &[Arc<Pod>], gone: &BTreeSet<String>, keep_finished: usize) -> Vec<Step> {
    let mut steps = Vec::new();
    for pod in pods {
        let reason = match replica::node_name(pod) {
            Some(node) if gone.contains(node) => Reason::NodeGone,
            None if pod.metadata.deletion_timestamp.is_some() => Reason::NeverScheduled,
            _ => continue,
        };
        steps.push(Step { pod: Arc::clone(pod), reason, fail: !replica::is_finished(pod) });
    }
    let mut finished: Vec<&Arc<Pod>> =
        pods.iter().filter(|pod| replica::is_finished(pod) && pod.metadata.deletion_timestamp.is_none()).collect();
    let surplus = finished.len().saturating_sub(keep_finished);
    finished.sort_by(|left, right| {
        let key = |pod: &Pod| (pod.metadata.creation_timestamp.clone(), pod.metadata.name.clone());
        key(left).cmp(&key(right))
    });
    let oldest = finished.into_iter().take(surplus);
    steps.extend(oldest.map(|pod| Step { pod: Arc::clone(pod), reason: Reason::TooManyFinished, fail: false }));
    steps
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, node: Value, phase: &str, deleted: bool) -> Arc<Pod> {
        let mut value = json!({
            "metadata": {"name": name, "creationTimestamp": format!("2026-01-01T00:00:0{}Z", name.len())},
            "spec": {"containers": [], "nodeName": node}, "status": {"phase": phase}
        });
        if deleted {
            value["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:01:00Z");
        }
        Arc::new(serde_json::from_value(value).unwrap())
    }

    #[test]
    fn only_what_nobody_else_ends() {
        let pods = [
            pod("a", json!("here"), "Running", true),
            pod("bb", json!("gone"), "Running", false),
            pod("ccc", json!(null), "Pending", true),
            pod("dddd", json!(null), "Pending", false),
            pod("eeeee", json!("here"), "Succeeded", false),
            pod("ffffff", json!("here"), "Failed", false),
        ];
        let steps = plan(&pods, &["gone".to_owned()].into(), 1);
        let told: Vec<(&str, Reason, bool)> =
            steps.iter().map(|step| (step.pod.metadata.name.as_deref().unwrap(), step.reason, step.fail)).collect();
        let expected =
            [("bb", Reason::NodeGone, true), ("ccc", Reason::NeverScheduled, true), ("eeeee", Reason::TooManyFinished, false)];
        assert_eq!(told, expected);
    }
}
