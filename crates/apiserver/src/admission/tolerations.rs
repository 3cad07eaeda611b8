//! Every pod stays five minutes on a node that stops answering.

use serde_json::{Value, json};

/// Seconds a pod stays on a node that is not ready or cannot be reached.
const TOLERATION_SECONDS: i64 = 300;

/// Adds the two tolerations where the pod has none of its own for these taints.
pub(super) fn admit(pod: &mut Value) {
    if !pod["spec"].is_object() {
        return;
    }
    let mut tolerations = pod["spec"]["tolerations"].as_array().cloned().unwrap_or_default();
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let covers = |toleration: &Value| {
            let own = toleration["key"].as_str().unwrap_or_default();
            let effect = toleration["effect"].as_str().unwrap_or_default();
            (own == key || own.is_empty()) && (effect == "NoExecute" || effect.is_empty())
        };
        if !tolerations.iter().any(covers) {
            tolerations.push(json!({
                "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": TOLERATION_SECONDS,
            }));
        }
    }
    if !tolerations.is_empty() {
        pod["spec"]["tolerations"] = tolerations.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_tolerations_count() {
        let mut pod = json!({ "spec": {} });
        admit(&mut pod);
        assert_eq!(pod["spec"]["tolerations"].as_array().map(Vec::len), Some(2));
        let mut pod = json!({ "spec": { "tolerations": [{ "operator": "Exists" }] } });
        admit(&mut pod);
        assert_eq!(pod["spec"]["tolerations"].as_array().map(Vec::len), Some(1));
    }
}
