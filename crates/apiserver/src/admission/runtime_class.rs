//! What a pod's RuntimeClass brings along: overhead, and the nodes that have such a runtime.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;
use windlass_api::{kind, quantity::Quantity, status::Status};

use super::forbidden;
use crate::call::Call;

const MISMATCH: &str = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";
const NOT_OF_A_CLASS: &str = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";

/// Sets the overhead of a new pod, and has it go where its class is served.
///
/// # Errors
/// 403 when there is no such class, or the pod says something else than it.
pub(super) async fn admit(call: &Call, pod: &mut Value) -> Result<(), Status> {
    let Some(class) = find(call, pod).await? else { return Ok(()) };
    let refused = |why: &str, pod: &Value| Err(forbidden(call, pod, why));
    if class["overhead"].is_object() {
        let (fixed, own) = (&class["overhead"]["podFixed"], &pod["spec"]["overhead"]);
        if own.is_object() && amounts(own) != amounts(fixed) {
            return refused(MISMATCH, pod);
        }
        if fixed.is_object() {
            pod["spec"]["overhead"] = fixed.clone();
        }
    }
    let (selector, tolerations) = (&class["scheduling"]["nodeSelector"], &class["scheduling"]["tolerations"]);
    for (key, value) in selector.as_object().into_iter().flatten() {
        let own = &pod["spec"]["nodeSelector"][key];
        if !own.is_null() && own != value {
            let [own, value] = [own, value].map(|value| value.as_str().unwrap_or_default());
            let why =
                format!("conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; pod.spec.nodeSelector[{key}] = {own}");
            return refused(&why, pod);
        }
        pod["spec"]["nodeSelector"][key] = value.clone();
    }
    if class["scheduling"].is_object() {
        let merged = merge(list(&pod["spec"]["tolerations"]), list(tolerations));
        if !merged.is_empty() {
            pod["spec"]["tolerations"] = merged.into();
        }
    }
    Ok(())
}

/// Checks the overhead of a pod whose rules are kept.
///
/// # Errors
/// 403 when it is not that of its class.
pub(super) async fn check(call: &Call, pod: &Value) -> Result<(), Status> {
    let class = find(call, pod).await?;
    let (own, fixed) = (&pod["spec"]["overhead"], class.as_ref().map(|class| &class["overhead"]));
    match fixed.filter(|overhead| overhead.is_object()) {
        Some(overhead) if amounts(&overhead["podFixed"]) != amounts(own) => Err(forbidden(call, pod, MISMATCH)),
        None if own.is_object() => Err(forbidden(call, pod, NOT_OF_A_CLASS)),
        _ => Ok(()),
    }
}

async fn find(call: &Call, pod: &Value) -> Result<Option<Arc<Value>>, Status> {
    let Some(name) = pod["spec"]["runtimeClassName"].as_str() else { return Ok(None) };
    let found = call.server.registry.look_up(&kind::node::RUNTIME_CLASS, "", name).await?;
    let missing = || forbidden(call, pod, &format!("pod rejected: RuntimeClass {name:?} not found"));
    found.map(Some).ok_or_else(missing)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Compared as quantities: 1000m is 1.
fn amounts(list: &Value) -> BTreeMap<&str, Option<Quantity>> {
    let entries = list.as_object().into_iter().flatten();
    entries.map(|(name, amount)| (name.as_str(), amount.as_str().and_then(|text| text.parse().ok()))).collect()
}

/// The class's tolerations, and the pod's own for other taints; of several for one taint the last.
fn merge(own: &[Value], of_class: &[Value]) -> Vec<Value> {
    let taint = |toleration: &Value| ["key", "effect"].map(|field| toleration[field].as_str().unwrap_or_default().to_owned());
    let taken: Vec<_> = of_class.iter().map(taint).collect();
    let kept = own.iter().enumerate().filter(|(index, toleration)| {
        let taint_of = taint(toleration);
        let later = &own[index + 1..];
        // As upstream: one that is there again word for word stays, unless it has a pointer in it.
        let is_last = later
            .iter()
            .rfind(|other| taint(other) == taint_of)
            .is_none_or(|last| last == *toleration && toleration["tolerationSeconds"].is_null());
        is_last && !taken.contains(&taint_of)
    });
    of_class.iter().chain(kept.map(|(_, toleration)| toleration)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tolerations_of_the_class_come_first_and_count() {
        let toleration = |key: &str, effect: &str, value: &str| json!({ "key": key, "effect": effect, "value": value });
        let for_a_while = |seconds: i64| json!({ "key": "c", "effect": "NoExecute", "tolerationSeconds": seconds });
        let own = [
            toleration("a", "NoSchedule", "own"),
            toleration("a", "NoExecute", "own"),
            toleration("b", "NoSchedule", "first"),
            toleration("b", "NoSchedule", "last"),
            for_a_while(5),
            for_a_while(5),
            toleration("d", "", ""),
            toleration("d", "", ""),
        ];
        let of_class = [toleration("a", "NoSchedule", "class")];
        let expected = [&of_class[0], &own[1], &own[3], &own[5], &own[6], &own[7]].map(Clone::clone);
        assert_eq!(merge(&own, &of_class), expected);
        assert_eq!(merge(&own[..1], &[]), own[..1]);
    }
}
