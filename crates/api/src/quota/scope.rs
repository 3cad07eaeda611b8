//! Which objects a quota is about.

use serde_json::Value;

use super::usage::concerns;
use crate::{kind::Kind, pod};

/// Whether a quota counts this object: it limits something of its kind, and the object is in all its scopes.
pub fn matches(quota: &Value, kind: &Kind, object: &Value) -> bool {
    let hard = quota["spec"]["hard"].as_object();
    let is_pod = (kind.group, kind.plural) == ("", "pods");
    let in_scope = |scope: &str, operator: &str, values: &Value| is_pod && in_scope(object, scope, operator, values);
    hard.is_some_and(|hard| hard.keys().any(|resource| concerns(kind, resource)))
        && list(&quota["spec"]["scopes"]).all(|scope| in_scope(text(scope), "Exists", &Value::Null))
        && list(&quota["spec"]["scopeSelector"]["matchExpressions"])
            .all(|requirement| in_scope(text(&requirement["scopeName"]), text(&requirement["operator"]), &requirement["values"]))
}

fn in_scope(pod: &Value, scope: &str, operator: &str, values: &Value) -> bool {
    let spec = &pod["spec"];
    let ends = spec["activeDeadlineSeconds"].as_i64().is_some_and(|seconds| seconds >= 0);
    match scope {
        "Terminating" => ends,
        "NotTerminating" => !ends,
        "BestEffort" => pod::qos_class(pod) == "BestEffort",
        "NotBestEffort" => pod::qos_class(pod) != "BestEffort",
        "CrossNamespacePodAffinity" => crosses_namespaces(&spec["affinity"]),
        "PriorityClass" => {
            let class = spec["priorityClassName"].as_str().filter(|class| !class.is_empty());
            let listed = class.is_some_and(|class| list(values).any(|value| value == class));
            match operator {
                "In" => listed,
                "NotIn" => !listed,
                "DoesNotExist" => class.is_none(),
                _ => class.is_some(),
            }
        }
        _ => false,
    }
}

/// Whether a pod wants to be near to or far from pods of other namespaces.
fn crosses_namespaces(affinity: &Value) -> bool {
    let crosses = |term: &Value| list(&term["namespaces"]).next().is_some() || !term["namespaceSelector"].is_null();
    ["podAffinity", "podAntiAffinity"].iter().any(|kind| {
        let rules = &affinity[*kind];
        list(&rules["requiredDuringSchedulingIgnoredDuringExecution"]).any(crosses)
            || list(&rules["preferredDuringSchedulingIgnoredDuringExecution"]).any(|rule| crosses(&rule["podAffinityTerm"]))
    })
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().map_or(&[][..], Vec::as_slice).iter()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
