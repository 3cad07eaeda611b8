//! A new node is given no pods before it has said that it is ready.

use serde_json::{Value, json};

const KEY: &str = "node.kubernetes.io/not-ready";
const EFFECT: &str = "NoSchedule";

/// Taints a new node, unless it brings the taint along. The node controller takes it off once the node is ready.
pub(super) fn admit(node: &mut Value) {
    let taint = json!({ "key": KEY, "effect": EFFECT });
    match node["spec"]["taints"].as_array_mut() {
        Some(taints) if taints.iter().any(|taint| taint["key"] == KEY && taint["effect"] == EFFECT) => {}
        Some(taints) => taints.push(taint),
        None => node["spec"]["taints"] = json!([taint]),
    }
}
