//! Quantities as upstream prints them.

use serde_json::Value;

use crate::quantity::Quantity;

use super::fill::inside;

/// Rewrites every quantity of the resource list in a field: canonical, and no finer than a thousandth. One that cannot be
/// read stays for the decoder to report.
pub(super) fn canonical(object: &mut Value, field: &str) {
    inside(object, field, |list| {
        for value in list.as_object_mut().into_iter().flat_map(serde_json::Map::values_mut) {
            let text = match value {
                Value::Number(number) => number.to_string(),
                Value::String(text) => text.clone(),
                _ => continue,
            };
            if let Ok(quantity) = text.parse::<Quantity>() {
                *value = quantity.rounded_to_millis().to_string().into();
            }
        }
    });
}
