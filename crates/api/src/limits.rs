//! What LimitRanges make of pods and claims: defaults on the way in, and bounds, in upstream's words.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    pod::{amounts, any_quantity, asked},
    quantity::Quantity,
};

const ANNOTATION: &str = "kubernetes.io/limit-ranger";
const CONTAINERS: [(&str, &str); 2] = [("containers", "container"), ("initContainers", "init container")];

type Amounts = BTreeMap<String, Quantity>;

/// Gives the containers of a pod what these LimitRanges have for who says nothing, and notes it on the pod.
pub fn fill(ranges: &[&Value], pod: &mut Value) {
    for range in ranges {
        fill_from(range, pod);
    }
}

fn fill_from(range: &Value, pod: &mut Value) {
    let limits = range["spec"]["limits"].as_array().into_iter().flatten().filter(|limit| limit["type"] == "Container");
    let (mut requests, mut ceilings) = (BTreeMap::new(), BTreeMap::new());
    for limit in limits {
        requests.extend(list(&limit["defaultRequest"]).map(|(name, amount)| (name.clone(), amount.clone())));
        ceilings.extend(list(&limit["default"]).map(|(name, amount)| (name.clone(), amount.clone())));
    }
    let mut notes = Vec::new();
    for (field, what) in CONTAINERS {
        for container in pod["spec"].get_mut(field).and_then(Value::as_array_mut).into_iter().flatten() {
            let name = container["name"].as_str().unwrap_or_default().to_owned();
            let set_limits = set(container, "limits", &ceilings);
            let set_requests = set(container, "requests", &requests);
            for (set, kind) in [(set_requests, "request"), (set_limits, "limit")] {
                if !set.is_empty() {
                    notes.push(format!("{} {kind} for {what} {name}", set.join(", ")));
                }
            }
        }
    }
    if notes.is_empty() || !pod["metadata"].is_object() {
        return;
    }
    if pod["metadata"]["annotations"].is_null() {
        pod["metadata"]["annotations"] = json!({});
    }
    if let Some(annotations) = pod["metadata"]["annotations"].as_object_mut() {
        annotations.insert(ANNOTATION.to_owned(), format!("LimitRanger plugin set: {}", notes.join("; ")).into());
    }
}

/// Sets what the container has not, and says what that was.
fn set(container: &mut Value, field: &str, defaults: &BTreeMap<String, Value>) -> Vec<String> {
    let absent = |name: &&String| container["resources"][field].get(name.as_str()).is_none();
    let missing: Vec<String> = defaults.keys().filter(absent).cloned().collect();
    if missing.is_empty() || !container.is_object() {
        return Vec::new();
    }
    if container["resources"].is_null() {
        container["resources"] = json!({});
    }
    let Some(resources) = container["resources"].as_object_mut() else { return Vec::new() };
    let amounts = resources.entry(field).or_insert_with(|| json!({}));
    let Some(amounts) = amounts.as_object_mut() else { return Vec::new() };
    for name in &missing {
        amounts.insert(name.clone(), defaults[name].clone());
    }
    missing
}

/// What of a pod is outside the bounds of these LimitRanges, one range after the other: the first that it breaks speaks.
pub fn check_pod(ranges: &[&Value], pod: &Value) -> Option<String> {
    ranges.iter().find_map(|range| aggregate(limits(range).flat_map(|limit| pod_errors(limit, &pod["spec"])).collect()))
}

/// What of a claim is outside the bounds of these LimitRanges.
pub fn check_claim(ranges: &[&Value], claim: &Value) -> Option<String> {
    let requests = amounts(&claim["spec"], "requests");
    let errors = |limit: &Value| {
        let own = &limit["type"] == "PersistentVolumeClaim";
        let (min, max) = if own { (bounds(limit, "min"), bounds(limit, "max")) } else { Default::default() };
        let least =
            min.iter().filter_map(|(name, bound)| min_error("PersistentVolumeClaim", name, *bound, &requests, &Amounts::new()));
        let most = max.iter().filter_map(|(name, bound)| {
            let shown = "PersistentVolumeClaim";
            match requests.get(name) {
                None => Some(format!("maximum {name} usage per {shown} is {bound}.  No request is specified")),
                Some(request) if request > bound => {
                    Some(format!("maximum {name} usage per {shown} is {bound}, but request is {request}"))
                }
                Some(_) => None,
            }
        });
        least.chain(most).collect::<Vec<_>>()
    };
    ranges.iter().find_map(|range| aggregate(limits(range).flat_map(&errors).collect()))
}

fn limits(range: &Value) -> impl Iterator<Item = &Value> {
    range["spec"]["limits"].as_array().map_or(&[][..], Vec::as_slice).iter()
}

fn pod_errors(limit: &Value, spec: &Value) -> Vec<String> {
    match limit["type"].as_str() {
        Some("Container") => {
            let lists = CONTAINERS.iter().flat_map(|(field, _)| spec[*field].as_array().into_iter().flatten());
            lists
                .flat_map(|container| errors(limit, "Container", &amounts(container, "requests"), &amounts(container, "limits")))
                .collect()
        }
        Some("Pod") => errors(limit, "Pod", &asked(spec, "requests"), &asked(spec, "limits")),
        _ => Vec::new(),
    }
}

fn errors(limit: &Value, kind: &str, requests: &Amounts, limits: &Amounts) -> Vec<String> {
    let mut errors = Vec::new();
    errors.extend(bounds(limit, "min").iter().filter_map(|(name, bound)| min_error(kind, name, *bound, requests, limits)));
    errors.extend(bounds(limit, "max").iter().filter_map(|(name, bound)| max_error(kind, name, *bound, requests, limits)));
    let ratios = bounds(limit, "maxLimitRequestRatio");
    errors.extend(ratios.iter().filter_map(|(name, bound)| ratio_error(kind, name, *bound, requests, limits)));
    errors
}

fn min_error(kind: &str, name: &str, bound: Quantity, requests: &Amounts, limits: &Amounts) -> Option<String> {
    let start = format!("minimum {name} usage per {kind} is {bound}");
    match (requests.get(name), limits.get(name)) {
        (None, _) => Some(format!("{start}.  No request is specified")),
        (Some(request), _) if *request < bound => Some(format!("{start}, but request is {request}")),
        (_, Some(limit)) if *limit < bound => Some(format!("{start}, but limit is {limit}")),
        _ => None,
    }
}

fn max_error(kind: &str, name: &str, bound: Quantity, requests: &Amounts, limits: &Amounts) -> Option<String> {
    let start = format!("maximum {name} usage per {kind} is {bound}");
    match (limits.get(name), requests.get(name)) {
        (None, _) => Some(format!("{start}.  No limit is specified")),
        (Some(limit), _) if *limit > bound => Some(format!("{start}, but limit is {limit}")),
        (_, Some(request)) if *request > bound => Some(format!("{start}, but request is {request}")),
        _ => None,
    }
}

fn ratio_error(kind: &str, name: &str, bound: Quantity, requests: &Amounts, limits: &Amounts) -> Option<String> {
    let start = format!("{name} max limit to request ratio per {kind} is {bound}");
    let some = |amounts: &Amounts| amounts.get(name).copied().filter(|amount| !amount.is_zero());
    let Some(request) = some(requests) else {
        return Some(format!("{start}, but no request is specified or request is 0"));
    };
    let Some(limit) = some(limits) else {
        return Some(format!("{start}, but no limit is specified or limit is 0"));
    };
    let ratio = limit.millis() as f64 / request.millis() as f64;
    (ratio * 1000.0 > bound.millis() as f64).then(|| format!("{start}, but provided ratio is {ratio:.6}"))
}

fn bounds(limit: &Value, field: &str) -> Amounts {
    list(&limit[field]).filter_map(|(name, amount)| Some((name.clone(), any_quantity(amount)?))).collect()
}

fn list(amounts: &Value) -> impl Iterator<Item = (&String, &Value)> {
    amounts.as_object().into_iter().flatten()
}

/// Several mistakes as upstream joins them: each once, in brackets if there are more than one.
fn aggregate(errors: Vec<String>) -> Option<String> {
    let mut distinct: Vec<String> = Vec::new();
    for error in errors {
        if !distinct.contains(&error) {
            distinct.push(error);
        }
    }
    match distinct.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        many => Some(format!("[{}]", many.join(", "))),
    }
}

#[cfg(test)]
mod tests;
