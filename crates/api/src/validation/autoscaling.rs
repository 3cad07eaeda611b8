//! Rules of HorizontalPodAutoscaler, in the terms of its newer version whichever was sent.

use serde_json::Value;

use super::errors::Errors;
use super::field::Field;
use super::format;
use crate::autoscaling;
use crate::quantity::Quantity;

const MAX_PERIOD_SECONDS: i64 = 1800;
const MAX_STABILIZATION_SECONDS: i64 = 3600;
const NOT_POSITIVE: &str = "must be greater than 0";
const POSITIVE: &str = "must be positive";

pub(super) fn horizontal_pod_autoscaler(autoscaler: &Field<'_>, errors: &mut Errors) {
    if autoscaler.get("apiVersion").text() == "autoscaling/v1" {
        let newer = autoscaling::to_v2(autoscaler.value());
        return spec(&Field::root(&newer).get("spec"), errors);
    }
    spec(&autoscaler.get("spec"), errors);
}

pub(super) fn status(status: &Field<'_>, errors: &mut Errors) {
    for field in ["currentReplicas", "desiredReplicas"] {
        errors.non_negative(&status.get(field));
    }
}

fn spec(spec: &Field<'_>, errors: &mut Errors) {
    let (min, max, metrics) = (spec.get("minReplicas"), spec.get("maxReplicas"), spec.get("metrics"));
    let least = min.int();
    if least.is_some_and(|least| least < 1) {
        errors.invalid(&min, "must be greater than or equal to 1");
    }
    if max.number() < 1 {
        errors.invalid_as(max.path(), max.number(), NOT_POSITIVE);
    }
    if least.is_some_and(|least| max.number() < least) {
        errors.invalid_as(max.path(), max.number(), "must be greater than or equal to `minReplicas`");
    }
    reference(&spec.get("scaleTargetRef"), errors);
    for item in metrics.items() {
        metric(&item, errors);
    }
    let behavior = spec.get("behavior");
    for direction in ["scaleUp", "scaleDown"] {
        if behavior.get(direction).is_set() {
            rules(&behavior.get(direction), errors);
        }
    }
}

fn reference(target: &Field<'_>, errors: &mut Errors) {
    let (kind, name, version) = (target.get("kind"), target.get("name"), target.get("apiVersion"));
    errors.required_format(&kind, format::path_segment);
    errors.required_format(&name, format::path_segment);
    if version.text().matches('/').count() > 1 {
        errors.invalid(&version, format!("unexpected GroupVersion string: {}", version.text()));
    }
}

fn rules(rules: &Field<'_>, errors: &mut Errors) {
    let (window, select) = (rules.get("stabilizationWindowSeconds"), rules.get("selectPolicy"));
    if window.number() < 0 {
        errors.invalid(&window, "must be greater than or equal to zero");
    }
    if window.number() > MAX_STABILIZATION_SECONDS {
        errors.invalid(&window, format!("must be less than or equal to {MAX_STABILIZATION_SECONDS}"));
    }
    if select.is_set() {
        errors.one_of(&select, &["Disabled", "Max", "Min"]);
    }
    let policies = rules.get("policies");
    if policies.is_empty() {
        errors.required(&policies, "must specify at least one Policy");
    }
    for policy in policies.items() {
        let (value, period) = (policy.get("value"), policy.get("periodSeconds"));
        errors.one_of(&policy.get("type"), &["Percent", "Pods"]);
        for field in [&value, &period] {
            if field.number() <= 0 {
                errors.invalid_as(field.path(), field.number(), "must be greater than zero");
            }
        }
        if period.number() > MAX_PERIOD_SECONDS {
            errors.invalid(&period, format!("must be less than or equal to {MAX_PERIOD_SECONDS}"));
        }
    }
    let tolerance = rules.get("tolerance");
    if quantity(tolerance.value()).is_some_and(Quantity::is_negative) {
        errors.invalid(&tolerance, "must be greater than or equal to 0");
    }
}

/// A source of figures: the type that says so, the field it lies in, and its rule.
type Source = (&'static str, &'static str, fn(&Field<'_>, &mut Errors));

const SOURCES: [Source; 5] = [
    ("Object", "object", object_source),
    ("External", "external", external_source),
    ("Pods", "pods", pods_source),
    ("Resource", "resource", resource_source),
    ("ContainerResource", "containerResource", container_source),
];

fn metric(metric: &Field<'_>, errors: &mut Errors) {
    let kind = metric.get("type");
    if kind.text().is_empty() {
        errors.required(&kind, "must specify a metric source type");
    }
    errors.one_of(&kind, &["ContainerResource", "External", "Object", "Pods", "Resource"]);
    let present: Vec<&Source> = SOURCES.iter().filter(|(_, field, _)| metric.get(field).is_set()).collect();
    if let Some((_, field, rule)) = present.first() {
        rule(&metric.get(field), errors);
    }
    let expected = SOURCES.iter().find(|(name, ..)| *name == kind.text()).map(|(_, field, _)| *field);
    if let Some(field) = expected.filter(|field| !metric.get(field).is_set()) {
        errors.required(&metric.get(field), "must populate information for the given metric source");
    }
    if present.len() != 1 {
        for (_, field, _) in present.into_iter().filter(|(_, field, _)| Some(*field) != expected) {
            errors.forbidden(&metric.get(field), "must populate the given metric source only");
        }
    }
}

fn object_source(source: &Field<'_>, errors: &mut Errors) {
    reference(&source.get("describedObject"), errors);
    identifier(&source.get("metric"), errors);
    let target = source.get("target");
    self::target(&target, errors);
    if !target.has("value") && !target.has("averageValue") {
        errors.required(&target.get("averageValue"), "must set either a target value or averageValue");
    }
}

fn external_source(source: &Field<'_>, errors: &mut Errors) {
    identifier(&source.get("metric"), errors);
    let target = source.get("target");
    self::target(&target, errors);
    match (target.has("value"), target.has("averageValue")) {
        (false, false) => {
            let wrong = "must set either a target value for metric or a per-pod target";
            errors.required(&target.get("averageValue"), wrong);
        }
        (true, true) => {
            errors.forbidden(&target.get("value"), "may not set both a target value for metric and a per-pod target");
        }
        _ => {}
    }
}

fn pods_source(source: &Field<'_>, errors: &mut Errors) {
    identifier(&source.get("metric"), errors);
    let target = source.get("target");
    self::target(&target, errors);
    if !quantity(target.get("averageValue").value()).is_some_and(is_positive) {
        errors.required(&target.get("averageValue"), "must specify a positive target averageValue");
    }
}

fn container_source(source: &Field<'_>, errors: &mut Errors) {
    named(source, errors);
    if source.get("container").text().is_empty() {
        errors.required(&source.get("container"), "must specify a container");
    }
    usage(&source.get("target"), errors);
}

fn resource_source(source: &Field<'_>, errors: &mut Errors) {
    named(source, errors);
    usage(&source.get("target"), errors);
}

fn named(source: &Field<'_>, errors: &mut Errors) {
    if source.get("name").text().is_empty() {
        errors.required(&source.get("name"), "must specify a resource name");
    }
}

fn usage(target: &Field<'_>, errors: &mut Errors) {
    self::target(target, errors);
    match (target.has("averageUtilization"), target.has("averageValue")) {
        (false, false) => {
            let wrong = "must set either a target raw value or a target utilization";
            errors.required(&target.get("averageUtilization"), wrong);
        }
        (true, true) => {
            errors.forbidden(&target.get("averageValue"), "may not set both a target raw value and a target utilization");
        }
        _ => {}
    }
}

fn target(target: &Field<'_>, errors: &mut Errors) {
    let kind = target.get("type");
    if kind.text().is_empty() {
        errors.required(&kind, "must specify a metric target type");
    }
    if !matches!(kind.text(), "Utilization" | "Value" | "AverageValue") {
        errors.invalid_as(kind.path(), kind.text(), "must be either Utilization, Value, or AverageValue");
    }
    for field in [target.get("value"), target.get("averageValue")] {
        if quantity(field.value()).is_some_and(|value| !is_positive(value)) {
            errors.invalid(&field, POSITIVE);
        }
    }
    let percent = target.get("averageUtilization");
    if percent.int().is_some_and(|percent| percent < 1) {
        errors.invalid(&percent, NOT_POSITIVE);
    }
}

fn identifier(metric: &Field<'_>, errors: &mut Errors) {
    let name = metric.get("name");
    if name.text().is_empty() {
        errors.required(&name, "must specify a metric name");
    } else {
        errors.format(&name, format::path_segment);
    }
}

fn quantity(value: &Value) -> Option<Quantity> {
    value.as_str().and_then(|text| text.parse().ok())
}

fn is_positive(quantity: Quantity) -> bool {
    !quantity.is_zero() && !quantity.is_negative()
}
