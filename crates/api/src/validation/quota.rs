//! Rules of LimitRange and ResourceQuota.

use std::collections::BTreeSet;

use crate::quantity::{Format, Quantity};

use super::errors::Errors;
use super::field::Field;
use super::format;
use super::pod::resources::{container_name, is_standard_for_quota, may_overcommit, quantity, quota_name, resource_name, value};

const SCOPES: &[&str] = &[
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
];

pub(super) fn limit_range(limit_range: &Field<'_>, errors: &mut Errors) {
    let mut kinds = BTreeSet::new();
    for limit in limit_range.get("spec").get("limits").items() {
        let kind = limit.get("type");
        limit_type(&kind, errors);
        if !kinds.insert(kind.text()) {
            errors.duplicate(&kind);
        }
        let is_pod = kind.text() == "Pod";
        let check = |field: &str, errors: &mut Errors| {
            for (name, amount) in limit.get(field).entries() {
                if matches!(kind.text(), "Pod" | "Container") {
                    container_name(name, &amount, errors);
                } else {
                    resource_name(name, &amount, errors);
                }
            }
        };
        check("max", errors);
        check("min", errors);
        for field in ["default", "defaultRequest"] {
            if !is_pod {
                check(field, errors);
            } else if !limit.get(field).is_empty() {
                errors.forbidden(&limit.get(field), "may not be specified when `type` is 'Pod'");
            }
        }
        let bounded = limit.get("min").has("storage") || limit.get("max").has("storage");
        if kind.text() == "PersistentVolumeClaim" && !bounded {
            let wrong = "either minimum or maximum storage value is required, but neither was provided";
            errors.required(&limit.get("limits"), wrong);
        }
        check("maxLimitRequestRatio", errors);
        amounts(&limit, is_pod, errors);
    }
}

fn limit_type(kind: &Field<'_>, errors: &mut Errors) {
    let wrong = format::qualified_name(kind.text());
    if wrong.is_empty() && !kind.text().contains('/') && !matches!(kind.text(), "Pod" | "Container" | "PersistentVolumeClaim") {
        errors.invalid(kind, "must be a standard limit type or fully qualified");
    }
    for message in wrong {
        errors.invalid_as(kind.path(), kind.text(), message);
    }
}

/// min ≤ default request ≤ default ≤ max, per resource.
fn amounts(limit: &Field<'_>, is_pod: bool, errors: &mut Errors) {
    let fields = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"];
    let lists = fields.map(|field| limit.get(field));
    let names: BTreeSet<&str> = lists.iter().flat_map(|list| list.entries().map(|(name, _)| name).collect::<Vec<_>>()).collect();
    for name in names {
        let amount = |field: &str| {
            let ignored = is_pod && matches!(field, "default" | "defaultRequest");
            if ignored { None } else { quantity(&limit.get(field).key(name)) }
        };
        let ordered = |low: (&str, &str), high: (&str, &str), at: &str, shown: &str, errors: &mut Errors| {
            if let (Some(less), Some(more)) = (amount(low.0), amount(high.0))
                && less > more
            {
                let shown = amount(shown).map(|quantity| quantity.to_string()).unwrap_or_default();
                let wrong = format!("{} value {less} is greater than {} value {more}", low.1, high.1);
                errors.invalid_as(limit.get(at).key(name).path(), shown, wrong);
            }
        };
        let (min, max) = (("min", "min"), ("max", "max"));
        let (default, request) = (("default", "default"), ("defaultRequest", "default request"));
        ordered(min, max, "min", "min", errors);
        ordered(min, request, "defaultRequest", "defaultRequest", errors);
        ordered(request, max, "defaultRequest", "defaultRequest", errors);
        ordered(request, ("default", "default limit"), "defaultRequest", "defaultRequest", errors);
        ordered(min, default, "default", "min", errors);
        ordered(default, max, "default", "max", errors);
        ratio(limit, name, errors);
        if let (false, Some(default), Some(request)) = (may_overcommit(name), amount("default"), amount("defaultRequest"))
            && default != request
        {
            let wrong = format!("default value {default} must equal to defaultRequest value {request} in {name}");
            errors.invalid_as(limit.get("defaultRequest").key(name).path(), request.to_string(), wrong);
        }
    }
}

fn ratio(limit: &Field<'_>, name: &str, errors: &mut Errors) {
    let field = limit.get("maxLimitRequestRatio").key(name);
    let Some(ratio) = quantity(&field) else { return };
    if ratio < Quantity::from_units(1, Format::DecimalSi) {
        errors.invalid_as(field.path(), ratio.to_string(), format!("ratio {ratio} is less than 1"));
    }
    let bound = |bound: &str| quantity(&limit.get(bound).key(name)).map(|quantity| quantity.millis() as f64);
    if let (Some(min), Some(max)) = (bound("min"), bound("max"))
        && ratio.millis() as f64 / 1000.0 > max / min
    {
        let wrong = format!("ratio {ratio} is greater than max/min = {:.6}", max / min);
        errors.invalid_as(field.path(), ratio.to_string(), wrong);
    }
}

pub(super) fn resource_quota(quota: &Field<'_>, errors: &mut Errors) {
    quota_spec(&quota.get("spec"), errors);
    quota_status(quota, errors);
}

pub(super) fn quota_status(quota: &Field<'_>, errors: &mut Errors) {
    let status = quota.get("status");
    for field in ["hard", "used"] {
        amounts_of_quota(&status.get(field), errors);
    }
}

fn amounts_of_quota(list: &Field<'_>, errors: &mut Errors) {
    for (name, amount) in list.entries() {
        quota_name(name, &amount, errors);
        value(name, &amount, errors);
    }
}

fn quota_spec(spec: &Field<'_>, errors: &mut Errors) {
    let (hard, scopes, selector) = (spec.get("hard"), spec.get("scopes"), spec.get("scopeSelector"));
    amounts_of_quota(&hard, errors);
    let limited: Vec<&str> = hard.entries().map(|(name, _)| name).filter(|name| is_standard_for_quota(name)).collect();
    for scope in scopes.items() {
        if !SCOPES.contains(&scope.text()) {
            errors.invalid(&scopes, "unsupported scope");
        }
        for _ in limited.iter().filter(|name| !scope_fits(scope.text(), name)) {
            errors.invalid(&scopes, "unsupported scope applied to resource");
        }
    }
    conflicting(scopes.items().map(|scope| scope.text()).collect(), &scopes, errors);
    let expressions = selector.get("matchExpressions").named(spec.child("scopeSelector.matchExpressions"));
    for requirement in selector.get("matchExpressions").items() {
        scope_requirement(&requirement.named(expressions.path()), &selector, &limited, errors);
    }
    let names = selector.get("matchExpressions").items().map(|requirement| requirement.get("scopeName").text()).collect();
    conflicting(names, &scopes.named(expressions.path()), errors);
}

fn scope_requirement(requirement: &Field<'_>, selector: &Field<'_>, limited: &[&str], errors: &mut Errors) {
    let (scope, operator, values) = (requirement.get("scopeName"), requirement.get("operator"), requirement.get("values"));
    if !SCOPES.contains(&scope.text()) {
        errors.invalid_as(scope.path(), scope.text(), "unsupported scope");
    }
    for _ in limited.iter().filter(|name| !scope_fits(scope.text(), name)) {
        errors.invalid_as(requirement.path(), selector.value().clone(), "unsupported scope applied to resource");
    }
    if !matches!(scope.text(), "PriorityClass" | "VolumeAttributesClass")
        && SCOPES.contains(&scope.text())
        && operator.text() != "Exists"
    {
        errors.invalid_as(
            operator.path(),
            operator.text(),
            "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity",
        );
    }
    match operator.text() {
        "In" | "NotIn" if values.is_empty() => {
            errors.required(&values, "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector");
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            errors.invalid(&values, "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector");
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        other => errors.invalid_as(operator.path(), other, "not a valid selector operator"),
    }
}

fn conflicting(scopes: BTreeSet<&str>, at: &Field<'_>, errors: &mut Errors) {
    for pair in [["BestEffort", "NotBestEffort"], ["Terminating", "NotTerminating"]] {
        if pair.iter().all(|scope| scopes.contains(scope)) {
            errors.invalid(at, "conflicting scopes");
        }
    }
}

/// Whether a scope can tell the users of a resource apart.
fn scope_fits(scope: &str, resource: &str) -> bool {
    let of_pods = resource == "pods"
        || matches!(resource, "cpu" | "memory" | "ephemeral-storage")
        || ["requests.", "limits."].iter().any(|prefix| resource.starts_with(prefix)) && !resource.contains("storage")
        || matches!(resource, "requests.ephemeral-storage" | "limits.ephemeral-storage");
    match scope {
        "Terminating" | "NotTerminating" | "NotBestEffort" | "PriorityClass" | "CrossNamespacePodAffinity" => of_pods,
        "BestEffort" => resource == "pods",
        _ => true,
    }
}

pub(super) fn resource_quota_update(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    quota_spec(&new.get("spec"), errors);
    let [after, before] = [new, old].map(|quota| quota.get("spec").get("scopes"));
    let set = |list: &Field<'_>| list.items().map(|scope| scope.text().to_owned()).collect::<BTreeSet<_>>();
    if set(&after) != set(&before) {
        errors.invalid(&after, "field is immutable");
    }
}
