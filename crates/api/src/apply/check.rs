//! What a configuration must be before it can be applied, in the words of upstream's typed values.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::types::element_step;
use crate::schema::{Field, ListType, Message, Shape, Type};

/// Every mistake, as `.path: what is wrong`.
pub(super) fn check(message: &Message, object: &Value) -> Vec<String> {
    let mut found = Vec::new();
    match object {
        Value::Object(map) => fields(message, map, "", &mut found),
        other => found.push(format!("expected map, got {}", shown(other))),
    }
    found
}

/// How upstream joins the mistakes of one object.
pub(super) fn joined(mistakes: &[String]) -> String {
    match mistakes {
        [one] => one.clone(),
        many => format!("errors:\n{}", many.iter().map(|mistake| format!("  {mistake}")).collect::<Vec<_>>().join("\n")),
    }
}

fn fields(message: &Message, map: &Map<String, Value>, path: &str, found: &mut Vec<String>) {
    for (key, value) in map {
        let path = format!("{path}.{key}");
        match message.field(key) {
            Some(field) => field_value(field, value, &path, found),
            None if message.kind && (key == "apiVersion" || key == "kind") => {}
            None => found.push(format!("{path}: field not declared in schema")),
        }
    }
}

fn field_value(field: &Field, value: &Value, path: &str, found: &mut Vec<String>) {
    match (field.shape, value) {
        (_, Value::Null) => {}
        (Shape::One, value) => element(field, value, path, found),
        (Shape::Map, Value::Object(map)) => {
            for (key, item) in map {
                element(field, item, &format!("{path}.{key}"), found);
            }
        }
        (Shape::List, Value::Array(items)) => list(field, items, path, found),
        (Shape::Map, other) => found.push(format!("{path}: expected map, got {}", shown(other))),
        (Shape::List, other) => found.push(format!("{path}: expected list, got {}", shown(other))),
    }
}

fn list(field: &Field, items: &[Value], path: &str, found: &mut Vec<String>) {
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for (index, item) in items.iter().enumerate() {
        let place = if field.list_type == ListType::Atomic {
            format!("[{index}]")
        } else {
            match element_step(field, item) {
                Err(reason) => {
                    found.push(format!("{path}: element {index}: {}", reason.0));
                    continue;
                }
                Ok(step) => {
                    let place = super::set::print_step(&step);
                    if !seen.insert(step) {
                        found.push(format!("{path}: duplicate entries for key {place}"));
                        continue;
                    }
                    place
                }
            }
        };
        element(field, item, &format!("{path}{place}"), found);
    }
}

fn element(field: &Field, value: &Value, path: &str, found: &mut Vec<String>) {
    let expected = match (field.ty, value) {
        (_, Value::Null) => return,
        (Type::Message(_), Value::Object(map)) => {
            if let Some(message) = field.message() {
                fields(message, map, path, found);
            }
            return;
        }
        (Type::RawExtension | Type::FieldsV1, Value::Object(_)) => return,
        (Type::Message(_) | Type::RawExtension | Type::FieldsV1, _) => "map",
        (Type::Bool, Value::Bool(_)) => return,
        (Type::Bool, _) => "boolean",
        (Type::Int32 | Type::Int64, Value::Number(_)) => return,
        (Type::Int32 | Type::Int64, _) => "numeric (int or float)",
        (Type::String | Type::Bytes | Type::Time | Type::MicroTime, Value::String(_)) => return,
        (Type::String | Type::Bytes | Type::Time | Type::MicroTime, _) => "string",
        (Type::Quantity | Type::IntOrString, Value::String(_) | Value::Number(_)) => return,
        (Type::Quantity | Type::IntOrString, _) => "scalar",
        (Type::Strings, Value::Array(_)) => return,
        (Type::Strings, _) => "list",
    };
    let got = match expected {
        "numeric (int or float)" => crate::patch::go_type(value).to_owned(),
        "string" => format!("&value.valueUnstructured{{Value:{}}}", crate::patch::go_print(value)),
        _ => shown(value),
    };
    found.push(format!("{path}: expected {expected}, got {got}"));
}

/// Upstream prints a value in another way for each type that was expected.
fn shown(value: &Value) -> String {
    format!("&{{{}}}", crate::patch::go_print(value))
}
