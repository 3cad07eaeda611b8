//! Quantities as upstream prints them.

use serde_json::Value;

use super::fill::inside;
use crate::quantity;

/// Rewrites every quantity of the resource list in a field; one that cannot be read stays for validation to report.
pub(super) fn canonical(object: &mut Value, field: &str) {
    inside(object, field, |list| {
        for value in list.as_object_mut().into_iter().flat_map(serde_json::Map::values_mut) {
            let text = match value {
                Value::Number(number) => number.to_string(),
                Value::String(text) => std::mem::take(text),
                _ => continue,
            };
            *value = quantity::canonical(&text).unwrap_or(text).into();
        }
    });
}
