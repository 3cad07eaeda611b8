//! When two versions of a value mean the same to upstream.

use serde_json::Value;

/// Fields that upstream keeps behind a pointer, where `false` or `0` says something that absence does not.
const EXPLICIT: &[&str] = &[
    "activeDeadlineSeconds",
    "allocateLoadBalancerNodePorts",
    "allowPrivilegeEscalation",
    "automountServiceAccountToken",
    "defaultMode",
    "enableServiceLinks",
    "fsGroup",
    "hostProcess",
    "hostUsers",
    "immutable",
    "maxSurge",
    "maxUnavailable",
    "minAvailable",
    "mode",
    "optional",
    "priority",
    "privileged",
    "progressDeadlineSeconds",
    "readOnlyRootFilesystem",
    "replicas",
    "revisionHistoryLimit",
    "runAsGroup",
    "runAsNonRoot",
    "runAsUser",
    "setHostnameAsFQDN",
    "shareProcessNamespace",
    "terminationGracePeriodSeconds",
    "tolerationSeconds",
    "type",
];

/// Upstream's semantic equality: an absent field equals an empty one, and the zero of a field that cannot be absent.
pub(super) fn same(new: &Value, old: &Value) -> bool {
    match (new, old) {
        (Value::Object(new), Value::Object(old)) => {
            let differs = |key: &String| {
                let (new, old) = (new.get(key).unwrap_or(&Value::Null), old.get(key).unwrap_or(&Value::Null));
                !same_field(key, new, old)
            };
            !new.keys().any(differs) && !old.keys().any(differs)
        }
        (Value::Array(new), Value::Array(old)) => new.len() == old.len() && new.iter().zip(old).all(|(new, old)| same(new, old)),
        _ => new == old || (is_empty(new) && is_empty(old)),
    }
}

fn same_field(name: &str, new: &Value, old: &Value) -> bool {
    same(new, old) || (!EXPLICIT.contains(&name) && is_zero(new) && is_zero(old))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        other => is_empty(other),
    }
}
