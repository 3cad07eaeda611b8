//! What can be said of a pod from its spec alone.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::quantity::Quantity;

/// The quality of service class that the kubelet evicts by: `Guaranteed`, `Burstable` or `BestEffort`.
///
/// Guaranteed: every container (init containers too) limits cpu and memory, and requests as much as it limits. BestEffort:
/// none requests or limits any of the two. Resources of the pod as a whole, where it has them, decide alone.
/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/>
pub fn qos_class(pod: &Value) -> &'static str {
    let spec = &pod["spec"];
    let whole = &spec["resources"];
    if !whole.is_null() {
        return class_of(&[whole]);
    }
    let containers = |key: &str| spec[key].as_array().into_iter().flatten();
    let resources: Vec<&Value> =
        containers("containers").chain(containers("initContainers")).map(|container| &container["resources"]).collect();
    class_of(&resources)
}

fn class_of(resources: &[&Value]) -> &'static str {
    const COMPUTE: [&str; 2] = ["cpu", "memory"];
    let amount = |resources: &Value, list: &str, name: &str| quantity(&resources[list][name]);
    let any = resources.iter().any(|resources| {
        COMPUTE.iter().any(|name| ["requests", "limits"].iter().any(|list| amount(resources, list, name).is_some()))
    });
    if !any {
        return "BestEffort";
    }
    let guaranteed = resources.iter().all(|resources| {
        COMPUTE.iter().all(|name| {
            let limit = amount(resources, "limits", name);
            // A request that is left out is defaulted to the limit; one of zero is none.
            let is_left_out = resources["requests"][name].is_null();
            limit.is_some() && (is_left_out || amount(resources, "requests", name) == limit)
        })
    });
    if guaranteed { "Guaranteed" } else { "Burstable" }
}

/// An amount above zero; an amount of zero counts as none.
fn quantity(value: &Value) -> Option<Quantity> {
    any_quantity(value).filter(|amount| *amount > Quantity::ZERO)
}

pub(crate) fn any_quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        _ => None,
    }
}

/// What the containers of a pod request or limit (`list`) together: those that run side by side add up, and an init container
/// that ends before the next one starts counts only where it needs more than that.
pub(crate) fn containers_total(spec: &Value, list: &str) -> BTreeMap<String, Quantity> {
    let mut total = BTreeMap::new();
    let containers = |field: &str| spec[field].as_array().into_iter().flatten();
    for container in containers("containers") {
        add(&mut total, &amounts(container, list));
    }
    let (mut sidecars, mut most) = (BTreeMap::new(), BTreeMap::new());
    for container in containers("initContainers") {
        let mut own = amounts(container, list);
        if container["restartPolicy"] == "Always" {
            add(&mut total, &own);
            add(&mut sidecars, &own);
            own.clone_from(&sidecars);
        } else {
            add(&mut own, &sidecars);
        }
        raise(&mut most, &own);
    }
    raise(&mut total, &most);
    total
}

/// What a pod requests or limits (`list`) but for its overhead: what it says for itself as a whole counts before what its
/// containers say.
pub fn asked(spec: &Value, list: &str) -> BTreeMap<String, Quantity> {
    let mut total = containers_total(spec, list);
    total.extend(amounts(spec, list));
    total
}

/// The same with its overhead, which comes on top of every request, and of a limit where there is one.
pub fn total(spec: &Value, list: &str) -> BTreeMap<String, Quantity> {
    let mut total = asked(spec, list);
    let overhead = spec["overhead"].as_object().into_iter().flatten();
    for (name, amount) in overhead.filter_map(|(name, amount)| Some((name.clone(), any_quantity(amount)?))) {
        if list == "requests" || total.contains_key(&name) {
            add(&mut total, &BTreeMap::from([(name, amount)]));
        }
    }
    total
}

/// What a container, or a pod as a whole, requests or limits (`list`).
pub(crate) fn amounts(container: &Value, list: &str) -> BTreeMap<String, Quantity> {
    let amounts = container["resources"][list].as_object().into_iter().flatten();
    amounts.filter_map(|(name, amount)| Some((name.clone(), any_quantity(amount)?))).collect()
}

fn add(total: &mut BTreeMap<String, Quantity>, more: &BTreeMap<String, Quantity>) {
    for (name, amount) in more {
        total.entry(name.clone()).and_modify(|sum| *sum = *sum + *amount).or_insert(*amount);
    }
}

fn raise(total: &mut BTreeMap<String, Quantity>, to: &BTreeMap<String, Quantity>) {
    for (name, amount) in to {
        total.entry(name.clone()).and_modify(|most| *most = (*most).max(*amount)).or_insert(*amount);
    }
}

/// Seconds a pod is given to end when it is deleted; `asked` is `gracePeriodSeconds` of the request.
///
/// A pod that no node runs, or that has ended, goes at once. A negative period means one second.
pub fn grace_period_seconds(pod: &Value, asked: Option<i64>) -> i64 {
    let unscheduled = pod["spec"]["nodeName"].as_str().unwrap_or_default().is_empty();
    if unscheduled || is_terminal(pod) {
        return 0;
    }
    let seconds = asked.or_else(|| pod["spec"]["terminationGracePeriodSeconds"].as_i64()).unwrap_or_default();
    if seconds < 0 { 1 } else { seconds }
}

/// Whether every container has ended for good.
pub fn is_terminal(pod: &Value) -> bool {
    matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(resources: &[Value], expected: &str) {
        let containers: Vec<Value> = resources.iter().map(|resources| json!({ "resources": resources })).collect();
        assert_eq!(qos_class(&json!({ "spec": { "containers": containers } })), expected, "{resources:?}");
    }

    #[test]
    fn class_follows_requests_and_limits() {
        let both = json!({ "limits": { "cpu": "1", "memory": "1Gi" } });
        let equal = json!({ "limits": { "cpu": "1", "memory": "1Gi" }, "requests": { "cpu": "1000m", "memory": "1024Mi" } });
        check(&[json!({})], "BestEffort");
        check(&[json!({ "requests": { "cpu": "0" } })], "BestEffort");
        check(&[json!({ "requests": { "ephemeral-storage": "1Gi" } })], "BestEffort");
        check(std::slice::from_ref(&both), "Guaranteed");
        check(std::slice::from_ref(&equal), "Guaranteed");
        check(&[both, json!({})], "Burstable");
        check(&[json!({ "limits": { "cpu": "1" } })], "Burstable");
        check(&[json!({ "limits": { "cpu": "2", "memory": "1Gi" }, "requests": { "cpu": "1" } })], "Burstable");
        check(&[json!({ "limits": { "cpu": "2", "memory": "1Gi" }, "requests": { "cpu": "0" } })], "Burstable");
    }

    #[test]
    fn resources_of_the_pod_decide_alone() {
        let pod = json!({ "spec": {
            "resources": { "limits": { "cpu": "1", "memory": "1Gi" } },
            "containers": [{ "resources": { "requests": { "cpu": "1m" } } }],
        } });
        assert_eq!(qos_class(&pod), "Guaranteed");
        let nothing = json!({ "resources": {}, "containers": [{ "resources": { "requests": { "cpu": "1m" } } }] });
        assert_eq!(qos_class(&json!({ "spec": nothing })), "BestEffort");
    }

    #[test]
    fn grace_is_for_pods_that_run() {
        let running =
            json!({ "spec": { "nodeName": "n", "terminationGracePeriodSeconds": 7 }, "status": { "phase": "Running" } });
        assert_eq!(grace_period_seconds(&running, None), 7);
        assert_eq!(grace_period_seconds(&running, Some(0)), 0);
        assert_eq!(grace_period_seconds(&running, Some(-5)), 1);
        assert_eq!(grace_period_seconds(&json!({ "spec": {} }), Some(9)), 0);
        assert_eq!(grace_period_seconds(&json!({ "spec": { "nodeName": "n" }, "status": { "phase": "Failed" } }), Some(9)), 0);
    }
}
