//! `matchLabelKeys` and `mismatchLabelKeys` of a pod's affinity: what they mean is written into the selector beside them when the pod is
//! made, and stays when its labels change.

use serde_json::{Map, Value, json};

/// Adds to the selectors of the pod's affinity terms what their label keys say of the pod's labels. Upstream's place and order.
pub(super) fn merge(pod: &mut Value) {
    let Some(labels) = pod["metadata"]["labels"].as_object().cloned() else { return };
    let Some(affinity) = pod.pointer_mut("/spec/affinity").and_then(Value::as_object_mut) else { return };
    for kind in ["podAffinity", "podAntiAffinity"] {
        let Some(rules) = affinity.get_mut(kind).and_then(Value::as_object_mut) else { continue };
        let mut terms = |rule: &str, merge: &dyn Fn(&mut Value)| {
            rules.get_mut(rule).and_then(Value::as_array_mut).into_iter().flatten().for_each(merge);
        };
        terms("preferredDuringSchedulingIgnoredDuringExecution", &|term| {
            term.get_mut("podAffinityTerm").into_iter().for_each(|term| merge_term(term, &labels));
        });
        terms("requiredDuringSchedulingIgnoredDuringExecution", &|term| merge_term(term, &labels));
    }
}

/// A term without a selector means no pod, whatever its keys.
fn merge_term(term: &mut Value, labels: &Map<String, Value>) {
    for (keys, operator) in [("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")] {
        let keys: Vec<String> =
            term[keys].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
        let Some(selector) = term.get_mut("labelSelector").and_then(Value::as_object_mut) else { return };
        for key in keys {
            let Some(value) = labels.get(&key) else { continue };
            let expressions = selector.entry("matchExpressions").or_insert_with(|| json!([]));
            if expressions.is_null() {
                *expressions = json!([]);
            }
            if let Some(expressions) = expressions.as_array_mut() {
                expressions.push(json!({"key": key, "operator": operator, "values": [value]}));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_keys_become_requirements_with_the_values_of_the_pod() {
        let term = |selector: Value| json!({"topologyKey": "zone", "labelSelector": selector, "matchLabelKeys": ["hash", "absent"], "mismatchLabelKeys": ["tenant"]});
        let mut pod = json!({
            "metadata": {"labels": {"hash": "1", "tenant": "a"}},
            "spec": {"affinity": {
                "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term(json!({"matchLabels": {"app": "web"}})), term(Value::Null)]},
                "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": term(json!({}))}]}
            }}
        });
        merge(&mut pod);
        let merged = json!([
            {"key": "hash", "operator": "In", "values": ["1"]}, {"key": "tenant", "operator": "NotIn", "values": ["a"]}
        ]);
        let required = &pod["spec"]["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
        assert_eq!(required[0]["labelSelector"], json!({"matchLabels": {"app": "web"}, "matchExpressions": merged}));
        assert_eq!(required[1], term(Value::Null));
        let preferred = &pod["spec"]["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"];
        assert_eq!(preferred[0]["podAffinityTerm"]["labelSelector"], json!({"matchExpressions": merged}));
    }
}
