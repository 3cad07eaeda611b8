//! Rules of resource requests and limits.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::pod::containers_total;
use crate::quantity::Quantity;

use super::super::errors::Errors;
use super::super::field::Field;
use super::super::format;

const NEGATIVE: &str = "must be greater than or equal to 0";
const CONTAINER: &[&str] = &["cpu", "memory", "ephemeral-storage"];
/// Resources that are counted rather than measured.
const COUNTED: &[&str] = &[
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];
const MEASURED: &[&str] = &[
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
];

/// The quantity in a field; none where it cannot be read, which the decoder reports.
pub(in crate::validation) fn quantity(field: &Field<'_>) -> Option<Quantity> {
    match field.value() {
        serde_json::Value::Number(number) => number.to_string().parse().ok(),
        _ => field.text().parse().ok(),
    }
}

pub(super) fn container_resources(resources: &Field<'_>, claims: &BTreeSet<&str>, errors: &mut Errors) {
    requirements(resources, container_name, errors);
    claim_names(&resources.get("claims"), claims, errors);
}

/// What a pod costs besides its containers is checked like their limits.
pub(in crate::validation) fn overhead(overhead: &Field<'_>, errors: &mut Errors) {
    let limits = json!({ "limits": overhead.value() });
    requirements(&Field::new(overhead.path(), &limits), container_name, errors);
}

/// Requests and limits of the pod as a whole.
pub(super) fn pod_resources(spec: &Field<'_>, claims: &BTreeSet<&str>, errors: &mut Errors) {
    let resources = spec.get("resources");
    if !resources.is_set() {
        return;
    }
    if spec.get("os").get("name").text() == "windows" {
        return errors.forbidden(&resources, "may not be set for a windows pod");
    }
    if resources.has("claims") {
        errors.forbidden(&resources.get("claims"), "claims may not be set for Resources at pod-level");
    }
    requirements(&resources, pod_name, errors);
    claim_names(&resources.get("claims"), claims, errors);
    covers_containers(&resources, "requests", &containers_total(spec.value(), "requests"), errors);
    let mut limits = containers_total(spec.value(), "limits");
    limits.retain(|name, _| is_huge_page(name));
    covers_containers(&resources, "limits", &limits, errors);
    for (index, container) in spec.get("containers").items().enumerate() {
        for (name, limit) in container.get("resources").get("limits").entries() {
            let pod_limit = quantity(&resources.get("limits").key(name));
            if let (Some(limit), Some(pod_limit)) = (quantity(&limit), pod_limit)
                && limit > pod_limit
            {
                let path = format!("{}.containers[{index}][{name}].limits", resources.path());
                errors.invalid_as(&path, limit.to_string(), format!("must be less than or equal to pod limits of {pod_limit}"));
            }
        }
    }
}

/// What the pod has must be enough for its containers together.
fn covers_containers(resources: &Field<'_>, list: &str, total: &BTreeMap<String, Quantity>, errors: &mut Errors) {
    for (name, needed) in total {
        let amount = resources.get(list).key(name);
        if let Some(given) = quantity(&amount)
            && *needed > given
        {
            let wrong = format!("must be greater than or equal to aggregate container {list} of {needed}");
            errors.invalid_as(amount.path(), given.to_string(), wrong);
        }
    }
}

fn requirements(resources: &Field<'_>, name_rule: fn(&str, &Field<'_>, &mut Errors), errors: &mut Errors) {
    let (limits, requests) = (resources.get("limits"), resources.get("requests"));
    for (name, amount) in limits.entries() {
        name_rule(name, &amount, errors);
        value(name, &amount, errors);
        whole_pages(name, &amount, errors);
    }
    for (name, amount) in requests.entries() {
        name_rule(name, &amount, errors);
        value(name, &amount, errors);
        match (quantity(&amount), quantity(&limits.key(name))) {
            (Some(request), Some(limit)) if request != limit && !may_overcommit(name) => {
                errors.invalid_as(requests.path(), request.to_string(), format!("must be equal to {name} limit of {limit}"));
            }
            (Some(request), Some(limit)) if request > limit => {
                let wrong = format!("must be less than or equal to {name} limit of {limit}");
                errors.invalid_as(requests.path(), request.to_string(), wrong);
            }
            (_, None) if !may_overcommit(name) => errors.required(&limits, "Limit must be set for non overcommitable resources"),
            _ => {}
        }
        whole_pages(name, &amount, errors);
    }
    let names = || limits.entries().chain(requests.entries()).map(|(name, _)| name);
    if names().any(is_huge_page) && !names().any(|name| matches!(name, "cpu" | "memory")) {
        errors.forbidden(resources, "HugePages require cpu or memory");
    }
}

fn claim_names(claims: &Field<'_>, known: &BTreeSet<&str>, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for claim in claims.items() {
        let (name, request) = (claim.get("name").text(), claim.get("request"));
        if name.is_empty() {
            errors.required(&claim, "");
            continue;
        }
        errors.optional_format(&request, format::dns1123_label);
        let key = if request.text().is_empty() { name.to_owned() } else { format!("{name}/{}", request.text()) };
        if seen.contains(name) || !seen.insert(key.clone()) {
            errors.duplicate_as(claim.path(), key, "");
        }
        if !known.contains(name) {
            let mut detail = "must be one of the names in pod.spec.resourceClaims".to_owned();
            if known.is_empty() {
                detail.push_str(" which is empty");
            } else {
                detail.push_str(&format!(": {}", known.iter().copied().collect::<Vec<_>>().join(", ")));
            }
            errors.not_found(&claim.get("name").named(claim.path()), detail);
        }
    }
}

/// An amount must not be negative, and whole where the resource is counted.
pub(in crate::validation) fn value(name: &str, amount: &Field<'_>, errors: &mut Errors) {
    let Some(quantity) = quantity(amount) else { return };
    if quantity.is_negative() {
        errors.invalid_as(amount.path(), quantity.to_string(), NEGATIVE);
    }
    if is_counted(name) && quantity.millis() % 1000 != 0 {
        errors.invalid_as(amount.path(), quantity.to_string(), "must be an integer");
    }
}

/// The name of any resource; says whether it is well-formed.
pub(in crate::validation) fn resource_name(name: &str, field: &Field<'_>, errors: &mut Errors) -> bool {
    let mut wrong = format::qualified_name(name);
    if wrong.is_empty() && !name.contains('/') && !is_standard(name) {
        wrong.push("must be a standard resource type or fully qualified".to_owned());
    }
    let fine = wrong.is_empty();
    for message in wrong {
        errors.invalid_as(field.path(), name, message);
    }
    fine
}

/// The name of a resource that a container can have.
pub(in crate::validation) fn container_name(name: &str, field: &Field<'_>, errors: &mut Errors) {
    resource_name(name, field, errors);
    if !name.contains('/') {
        if !CONTAINER.contains(&name) && !is_huge_page(name) {
            errors.invalid_as(field.path(), name, "must be a standard resource for containers");
        }
    } else if !is_native(name) && !is_extended(name) {
        errors.invalid_as(field.path(), name, "doesn't follow extended resource name standard");
    }
}

fn pod_name(name: &str, field: &Field<'_>, errors: &mut Errors) {
    if resource_name(name, field, errors) && !matches!(name, "cpu" | "memory") && !is_huge_page(name) {
        errors.unsupported_as(field.path(), name, &["cpu", "hugepages-", "memory"]);
    }
}

/// The name of a resource that a quota can limit.
pub(in crate::validation) fn quota_name(name: &str, field: &Field<'_>, errors: &mut Errors) {
    resource_name(name, field, errors);
    if !name.contains('/') && !is_standard_for_quota(name) {
        errors.invalid_as(field.path(), name, "must be a standard resource for quota");
    }
}

/// Whether requests may be lower than limits.
pub(in crate::validation) fn may_overcommit(name: &str) -> bool {
    is_native(name) && !is_huge_page(name)
}

/// Whether quotas know a resource by this name.
pub(in crate::validation) fn is_standard_for_quota(name: &str) -> bool {
    CONTAINER.contains(&name)
        || COUNTED.contains(&name)
        || MEASURED.contains(&name)
        || is_huge_page(name)
        || name.starts_with("requests.hugepages-")
}

fn is_standard(name: &str) -> bool {
    name == "storage" || is_standard_for_quota(name)
}

fn is_counted(name: &str) -> bool {
    COUNTED.contains(&name) || is_extended(name)
}

fn is_huge_page(name: &str) -> bool {
    name.starts_with("hugepages-")
}

fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

fn is_extended(name: &str) -> bool {
    !is_native(name) && !name.starts_with("requests.") && format::qualified_name(&format!("requests.{name}")).is_empty()
}

fn whole_pages(name: &str, amount: &Field<'_>, errors: &mut Errors) {
    let Some(size) = name.strip_prefix("hugepages-").and_then(|size| size.parse::<Quantity>().ok()) else { return };
    let Some(amount_of) = quantity(amount) else { return };
    if size.units() <= 0 || amount_of.units() % size.units() != 0 || amount_of.millis() % 1000 != 0 {
        let wrong = format!("{amount_of} is not positive integer multiple of {name}");
        errors.invalid_as(amount.path(), amount_of.to_string(), wrong);
    }
}
