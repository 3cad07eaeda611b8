//! Quantities as upstream prints them.

use serde_json::Value;

use crate::quantity::Quantity;

use super::fill::inside;

/// Rewrites every quantity of the resource list in a field: canonical, and no finer than a thousandth. One that cannot be
/// read stays for the decoder to report.
pub(super) fn canonical(object: &mut Value, field: &str) {
    inside(object, field, |list| list.as_object_mut().into_iter().flat_map(serde_json::Map::values_mut).for_each(rewrite));
}

/// Rewrites the one quantity in a field in the same way.
pub(super) fn canonical_field(object: &mut Value, field: &str) {
    if let Some(value) = object.get_mut(field) {
        rewrite(value);
    }
}

fn rewrite(value: &mut Value) {
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        _ => return,
    };
    if let Ok(quantity) = text.parse::<Quantity>() {
        *value = quantity.rounded_to_millis().to_string().into();
    }
}
