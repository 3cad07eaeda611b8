//! Rules of label selectors, and of templates that a selector must match.

use serde_json::Value;

use crate::selector::Selector;

use super::errors::Errors;
use super::field::Field;
use super::{format, metadata};

/// Keys, operators and values of a `LabelSelector`.
pub(super) fn label_selector(selector: &Field<'_>, errors: &mut Errors) {
    metadata::labels(&selector.get("matchLabels"), errors);
    for requirement in selector.get("matchExpressions").items() {
        let (key, operator, values) = (requirement.get("key"), requirement.get("operator"), requirement.get("values"));
        match operator.text() {
            "In" | "NotIn" if values.is_empty() => {
                errors.required(&values, "must be specified when `operator` is 'In' or 'NotIn'");
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                errors.forbidden(&values, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errors.invalid_as(operator.path(), other, "not a valid selector operator"),
        }
        metadata::label_key(&key, key.text(), errors);
        for value in values.items() {
            errors.format(&value, format::label_value);
        }
    }
}

/// The selector of a workload: there, well-formed and not empty. `empty` is what upstream says of an empty one.
pub(super) fn workload_selector(selector: &Field<'_>, empty: &str, errors: &mut Errors) {
    if !selector.is_set() {
        return errors.required(selector, "");
    }
    label_selector(selector, errors);
    if is_empty(selector) {
        errors.invalid(selector, empty);
    }
}

/// Whether a selector has no requirement.
pub(super) fn is_empty(selector: &Field<'_>) -> bool {
    selector.get("matchLabels").is_empty() && selector.get("matchExpressions").is_empty()
}

/// What a template makes must be what the selector finds.
pub(super) fn matches_template(selector: &Field<'_>, template: &Field<'_>, errors: &mut Errors) {
    let labels = template.get("metadata").get("labels");
    let matches = match Selector::from_value(selector.value()) {
        Err(_) => return errors.invalid(selector, "invalid label selector"),
        // Absent, it matches nothing; empty, it is not looked at, since an error says so already.
        Ok(_) if selector.is_set() && is_empty(selector) => true,
        Ok(parsed) => parsed.matches(labels.value()),
    };
    if !matches {
        does_not_match(&labels, errors);
    }
}

/// The same for the plain map that ReplicationControllers select with.
pub(super) fn map_matches_template(selector: &Field<'_>, template: &Field<'_>, errors: &mut Errors) {
    let labels = template.get("metadata").get("labels");
    if selector.entries().any(|(key, value)| labels.value().get(key) != Some(value.value())) {
        does_not_match(&labels, errors);
    }
}

fn does_not_match(labels: &Field<'_>, errors: &mut Errors) {
    let shown = if labels.is_set() { labels.value().clone() } else { Value::Null };
    errors.invalid_as(labels.path(), shown, "`selector` does not match template `labels`");
}
