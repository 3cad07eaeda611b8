//! How a default gets into a JSON object: only where its author said nothing.

use serde_json::{Map, Value};

/// Sets a field that upstream keeps behind a pointer: only absence (or null) is unset, zero is an answer.
pub(super) fn unset(object: &mut Value, field: &str, default: impl Into<Value>) {
    if let Some(map) = object.as_object_mut()
        && map.get(field).is_none_or(Value::is_null)
    {
        map.insert(field.to_owned(), default.into());
    }
}

/// Sets a field that upstream keeps by value: there an empty string or zero is the same as absence.
pub(super) fn blank(object: &mut Value, field: &str, default: impl Into<Value>) {
    if let Some(map) = object.as_object_mut()
        && map.get(field).is_none_or(is_zero)
    {
        map.insert(field.to_owned(), default.into());
    }
}

/// Calls `fill` on the object in a field; nothing happens where there is none.
pub(super) fn inside(object: &mut Value, field: &str, fill: impl FnOnce(&mut Value)) {
    if let Some(inner) = object.get_mut(field)
        && inner.is_object()
    {
        fill(inner);
    }
}

/// Calls `fill` on the object in a field, which is made first where there is none.
pub(super) fn within(object: &mut Value, field: &str, fill: impl FnOnce(&mut Value)) {
    unset(object, field, Map::new());
    inside(object, field, fill);
}

/// Calls `fill` on every object of the list in a field.
pub(super) fn each(object: &mut Value, field: &str, fill: impl FnMut(&mut Value)) {
    if let Some(items) = object.get_mut(field).and_then(Value::as_array_mut) {
        items.iter_mut().filter(|item| item.is_object()).for_each(fill);
    }
}

/// Takes a field away.
pub(super) fn remove(object: &mut Value, field: &str) -> Option<Value> {
    object.as_object_mut().and_then(|map| map.remove(field))
}

/// The text in a field, empty where there is none.
pub(super) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// Copies into the map at `to` whatever the map `from` has and it has not.
pub(super) fn inherit(object: &mut Value, to: &str, from: &Map<String, Value>) {
    if from.is_empty() {
        return;
    }
    within(object, to, |map| {
        for (key, value) in from {
            unset(map, key, value.clone());
        }
    });
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
        _ => false,
    }
}
