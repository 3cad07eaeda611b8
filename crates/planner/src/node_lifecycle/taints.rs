//! Taints that follow from a node's conditions.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Taint};

use super::{READY, TAINT_NOT_READY, TAINT_UNREACHABLE};
use crate::seconds;

const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Condition, its value, and the taint that follows from it.
const FOLLOWING: [(&str, &str, &str); 6] = [
    (READY, "False", TAINT_NOT_READY),
    (READY, "Unknown", TAINT_UNREACHABLE),
    ("MemoryPressure", "True", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"),
];

/// The taints that the node should have; `None` if it has them. Taints of others stay.
pub fn taints(node: &Node, now: Timestamp) -> Option<Vec<Taint>> {
    let present = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
    let wanted = wanted(node);
    let ours = |taint: &Taint| {
        let known = taint.key == UNSCHEDULABLE || FOLLOWING.iter().any(|(_, _, key)| *key == taint.key);
        known && matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute")
    };
    let is_wanted = |taint: &Taint| wanted.iter().any(|(key, effect)| taint.key == *key && taint.effect == *effect);
    let mut taints: Vec<Taint> = present.iter().filter(|taint| !ours(taint) || is_wanted(taint)).cloned().collect();
    for (key, effect) in &wanted {
        if !present.iter().any(|taint| taint.key == *key && taint.effect == *effect) {
            taints.push(Taint {
                effect: (*effect).to_owned(),
                key: (*key).to_owned(),
                // From here the time that pods tolerate it counts.
                time_added: Some(seconds(now)),
                value: None,
            });
        }
    }
    (taints != present).then_some(taints)
}

fn wanted(node: &Node) -> Vec<(&'static str, &'static str)> {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let mut wanted = Vec::new();
    for (type_, value, key) in FOLLOWING {
        if conditions.iter().any(|condition| condition.type_ == type_ && condition.status == value) {
            wanted.push((key, "NoSchedule"));
            if type_ == READY {
                wanted.push((key, "NoExecute"));
            }
        }
    }
    if node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false) {
        wanted.push((UNSCHEDULABLE, "NoSchedule"));
    }
    wanted
}
