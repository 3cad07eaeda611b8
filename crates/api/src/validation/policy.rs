//! Rules of PodDisruptionBudget.

use std::collections::BTreeSet;

use serde_json::json;

use super::apps::{at_most_all, int_or_percent};
use super::errors::Errors;
use super::field::Field;
use super::{metadata, selector};

const REASON_MAX_BYTES: usize = 1024;
const MESSAGE_MAX_BYTES: usize = 32 * 1024;
const REASON: &str = "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')";

pub(super) fn pod_disruption_budget(budget: &Field<'_>, errors: &mut Errors) {
    let spec = budget.get("spec");
    let (available, unavailable) = (spec.get("minAvailable"), spec.get("maxUnavailable"));
    if available.is_set() && unavailable.is_set() {
        let shown = json!({
            "MinAvailable": available.value(), "Selector": spec.get("selector").value(),
            "MaxUnavailable": unavailable.value(),
            "UnhealthyPodEvictionPolicy": spec.get("unhealthyPodEvictionPolicy").value(),
        });
        errors.invalid_as(spec.path(), shown, "minAvailable and maxUnavailable cannot be both set");
    }
    for bound in [&available, &unavailable].into_iter().filter(|bound| bound.is_set()) {
        int_or_percent(bound, errors);
        at_most_all(bound, errors);
    }
    selector::label_selector(&spec.get("selector"), errors);
    let eviction = spec.get("unhealthyPodEvictionPolicy");
    if eviction.is_set() {
        errors.one_of(&eviction, &["AlwaysAllow", "IfHealthyBudget"]);
    }
}

pub(super) fn status(budget: &Field<'_>, errors: &mut Errors) {
    let status = budget.get("status");
    let mut kinds = BTreeSet::new();
    for condition in status.get("conditions").items() {
        if !kinds.insert(condition.get("type").text()) {
            errors.duplicate(&condition.get("type"));
        }
        self::condition(&condition, errors);
    }
    for field in ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"] {
        errors.non_negative(&status.get(field));
    }
}

fn condition(condition: &Field<'_>, errors: &mut Errors) {
    let (kind, reason, message) = (condition.get("type"), condition.get("reason"), condition.get("message"));
    metadata::label_key(&kind, kind.text(), errors);
    errors.one_of(&condition.get("status"), &["False", "True", "Unknown"]);
    let generation = condition.get("observedGeneration");
    if generation.number() < 0 {
        errors.invalid(&generation, "must be greater than or equal to zero");
    }
    if !condition.has("lastTransitionTime") {
        errors.required(&condition.get("lastTransitionTime"), "must be set");
    }
    if reason.text().is_empty() {
        errors.required(&reason, "must be set");
    } else if !is_reason(reason.text()) {
        errors.invalid(&reason, REASON);
    }
    if reason.text().len() > REASON_MAX_BYTES {
        errors.too_long(reason.path(), REASON_MAX_BYTES);
    }
    if message.text().len() > MESSAGE_MAX_BYTES {
        errors.too_long(message.path(), MESSAGE_MAX_BYTES);
    }
}

fn is_reason(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.ends_with(|last: char| last.is_ascii_alphanumeric() || last == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_,:".contains(&byte))
}
