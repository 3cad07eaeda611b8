//! Fields that a type does not have, and values of the wrong JSON type, in the words of upstream's decoder.

use serde_json::{Map, Value};

use super::{Field, Message, Shape, Type};
use crate::quantity::{ParseError, Quantity};

/// One line for each field that the type does not have: `unknown field "spec.foo"`, in the order of the object.
///
/// This is what upstream says under `fieldValidation=Warn` (one warning each) and `Strict` (see [`strict_error`]).
pub fn check(message: &Message, object: &Value) -> Vec<String> {
    let mut found = Vec::new();
    if let Value::Object(map) = object {
        unknown(message, map, &mut String::new(), &mut found);
    }
    found
}

/// What upstream answers under `fieldValidation=Strict` for [`check`]'s lines and the duplicates of the decoder.
pub fn strict_error(lines: &[String]) -> String {
    format!("strict decoding error: {}", lines.join(", "))
}

/// Runs `inside` with the path extended by a key, as upstream's decoder writes paths.
fn at_key<R>(path: &mut String, key: &str, inside: impl FnOnce(&mut String) -> R) -> R {
    let length = path.len();
    if length > 0 {
        path.push('.');
    }
    path.push_str(key);
    let result = inside(path);
    path.truncate(length);
    result
}

fn at_index<R>(path: &mut String, index: usize, inside: impl FnOnce(&mut String) -> R) -> R {
    let length = path.len();
    path.push_str(&format!("[{index}]"));
    let result = inside(path);
    path.truncate(length);
    result
}

fn unknown(message: &Message, map: &Map<String, Value>, path: &mut String, found: &mut Vec<String>) {
    for (key, value) in map {
        at_key(path, key, |path| match message.field(key) {
            Some(field) => {
                if let Some(inner) = field.message() {
                    unknown_within(field.shape, inner, value, path, found);
                }
            }
            None if message.kind && (key == "apiVersion" || key == "kind") => {}
            None => found.push(format!("unknown field \"{}\"", path.escape_debug())),
        });
    }
}

fn unknown_within(shape: Shape, message: &Message, value: &Value, path: &mut String, found: &mut Vec<String>) {
    match (shape, value) {
        (Shape::One, Value::Object(map)) => unknown(message, map, path, found),
        (Shape::List, Value::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                at_index(path, index, |path| unknown_within(Shape::One, message, item, path, found));
            }
        }
        (Shape::Map, Value::Object(map)) => {
            for (key, item) in map {
                at_key(path, key, |path| unknown_within(Shape::One, message, item, path, found));
            }
        }
        _ => {}
    }
}

/// What upstream's decoder says of the first value that has the wrong JSON type, such as
/// `json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32`.
///
/// The API server answers 400 with `Deployment in version "v1" cannot be handled as a Deployment: ` before it.
pub fn decode_error(message: &Message, object: &Value) -> Option<String> {
    match object {
        Value::Object(map) => wrong(message, map, &mut String::new()),
        other => Some(format!("json: cannot unmarshal {} into Go value of type {}", describe(other), message.go_type())),
    }
}

fn wrong(message: &Message, map: &Map<String, Value>, path: &mut String) -> Option<String> {
    for (key, value) in map {
        if message.kind && (key == "apiVersion" || key == "kind") && !matches!(value, Value::String(_) | Value::Null) {
            return Some(unmarshal(value, message, key, "string"));
        }
        let Some(field) = message.field(key) else { continue };
        if let Some(error) = at_key(path, key, |path| wrong_field(message, field, value, path)) {
            return Some(error);
        }
    }
    None
}

fn unmarshal(value: &Value, owner: &Message, path: &str, go_type: &str) -> String {
    format!("json: cannot unmarshal {} into Go struct field {}.{path} of type {go_type}", describe(value), owner.name)
}

fn wrong_field(owner: &Message, field: &Field, value: &Value, path: &mut String) -> Option<String> {
    match (field.shape, value) {
        (_, Value::Null) => None,
        (Shape::One, value) => wrong_element(owner, field, value, path),
        // Go's decoder leaves indices and map keys out of the path.
        (Shape::List, Value::Array(items)) => items.iter().find_map(|item| wrong_element(owner, field, item, path)),
        (Shape::Map, Value::Object(map)) => map.values().find_map(|item| wrong_element(owner, field, item, path)),
        (Shape::List, other) => Some(unmarshal(other, owner, path, &format!("[]{}", element_type(field)))),
        (Shape::Map, other) => Some(unmarshal(other, owner, path, &map_type(field))),
    }
}

fn wrong_element(owner: &Message, field: &Field, value: &Value, path: &mut String) -> Option<String> {
    let fits = match (field.ty, value) {
        (_, Value::Null) | (Type::RawExtension | Type::FieldsV1, _) => true,
        (Type::Message(_), Value::Object(map)) => return field.message().and_then(|inner| wrong(inner, map, path)),
        (Type::Bool, Value::Bool(_)) => true,
        (Type::Int32, Value::Number(number)) => number.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
        (Type::Int64, Value::Number(number)) => number.as_i64().is_some(),
        (Type::String, Value::String(_)) => true,
        (Type::Bytes, Value::String(text)) => return wrong_base64(text),
        (Type::Quantity, Value::String(text)) => return text.parse::<Quantity>().err().map(|why| why.to_string()),
        (Type::Quantity, Value::Number(_)) => true,
        (Type::Quantity, _) => return Some(ParseError::Format.to_string()),
        (Type::Time, Value::String(text)) => return wrong_time(text, "2006-01-02T15:04:05Z07:00"),
        (Type::MicroTime, Value::String(text)) => return wrong_time(text, "2006-01-02T15:04:05.000000Z07:00"),
        (Type::Time | Type::MicroTime, other) => return Some(not_a_go_value(other, "string")),
        (Type::IntOrString, Value::String(_)) => true,
        (Type::IntOrString, Value::Number(number)) => {
            let fits = number.as_i64().is_some_and(|number| i32::try_from(number).is_ok());
            return (!fits).then(|| not_a_go_value(value, "int32"));
        }
        (Type::IntOrString, other) => return Some(not_a_go_value(other, "int32")),
        (Type::Strings, Value::Array(items)) => items.iter().all(Value::is_string),
        _ => false,
    };
    (!fits).then(|| unmarshal(value, owner, path, &element_type(field)))
}

/// Types with an unmarshaller of their own do not know which field they are.
fn not_a_go_value(value: &Value, go_type: &str) -> String {
    format!("json: cannot unmarshal {} into Go value of type {go_type}", describe(value))
}

fn wrong_base64(text: &str) -> Option<String> {
    use base64::Engine;
    let error = base64::engine::general_purpose::STANDARD.decode(text.as_bytes()).err()?;
    let at = match error {
        base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => at,
        base64::DecodeError::InvalidLength(length) => length,
        base64::DecodeError::InvalidPadding => text.len(),
    };
    Some(format!("illegal base64 data at input byte {at}"))
}

fn wrong_time(text: &str, layout: &str) -> Option<String> {
    if text.parse::<jiff::Timestamp>().is_ok() {
        return None;
    }
    Some(format!("parsing time {text:?} as {layout:?}: cannot parse {text:?} as \"2006\""))
}

fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "bool".to_owned(),
        Value::Number(number) => format!("number {number}"),
        Value::String(_) => "string".to_owned(),
        Value::Array(_) => "array".to_owned(),
        Value::Object(_) => "object".to_owned(),
    }
}

/// The Go type of one element, as `reflect` prints it.
fn element_type(field: &Field) -> String {
    if !field.go_type.is_empty() {
        return field.go_type.to_owned();
    }
    match field.ty {
        Type::Bool => "bool",
        Type::Int32 => "int32",
        Type::Int64 => "int64",
        Type::String => "string",
        Type::Bytes => "[]uint8",
        Type::Quantity => "resource.Quantity",
        Type::Time => "v1.Time",
        Type::MicroTime => "v1.MicroTime",
        Type::IntOrString => "intstr.IntOrString",
        Type::RawExtension => "runtime.RawExtension",
        Type::FieldsV1 => "v1.FieldsV1",
        Type::Strings => "v1.ExtraValue",
        Type::Message(_) => return field.message().map(Message::go_type).unwrap_or_default(),
    }
    .to_owned()
}

fn map_type(field: &Field) -> String {
    match field.ty {
        Type::Quantity => "v1.ResourceList".to_owned(),
        _ => format!("map[string]{}", element_type(field)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::message;

    fn deployment() -> &'static Message {
        message("apps", "v1", "Deployment").expect("apps/v1 has Deployment")
    }

    #[test]
    fn unknown_fields_are_named_by_path() {
        let object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "extra": 1,
            "metadata": { "name": "web", "labels": { "free": "text" } },
            "spec": { "foo": 1, "template": { "spec": { "containers": [
                { "name": "a", "resources": { "limits": { "any.example/thing": "1" } } },
                { "name": "b", "imagePullPolciy": "Always", "env": [{ "name": "x", "valu\"e": null }] },
            ] } } },
        });
        assert_eq!(
            check(deployment(), &object),
            [
                r#"unknown field "extra""#,
                r#"unknown field "spec.foo""#,
                r#"unknown field "spec.template.spec.containers[1].env[0].valu\"e""#,
                r#"unknown field "spec.template.spec.containers[1].imagePullPolciy""#,
            ]
        );
    }

    #[test]
    fn strict_errors_are_one_sentence() {
        let lines = [r#"unknown field "spec.a""#.to_owned(), r#"duplicate field "spec.b""#.to_owned()];
        assert_eq!(strict_error(&lines), r#"strict decoding error: unknown field "spec.a", duplicate field "spec.b""#);
    }

    #[test]
    fn wrong_types_read_as_upstreams() {
        let cases = [
            (
                json!({ "spec": { "replicas": "3" } }),
                Some("json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"),
            ),
            (
                json!({ "spec": { "replicas": 1.5 } }),
                Some("json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32"),
            ),
            (
                json!({ "spec": { "replicas": 3_000_000_000_u32 } }),
                Some("json: cannot unmarshal number 3000000000 into Go struct field DeploymentSpec.spec.replicas of type int32"),
            ),
            (
                json!({ "metadata": { "labels": { "a": 1 } } }),
                Some("json: cannot unmarshal number 1 into Go struct field ObjectMeta.metadata.labels of type string"),
            ),
            (
                json!({ "spec": { "template": { "spec": { "containers": { "name": "x" } } } } }),
                Some(
                    "json: cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container",
                ),
            ),
            (
                json!({ "spec": { "template": { "spec": { "restartPolicy": true } } } }),
                Some(
                    "json: cannot unmarshal bool into Go struct field PodSpec.spec.template.spec.restartPolicy of type v1.RestartPolicy",
                ),
            ),
            (
                json!({ "spec": { "selector": [] } }),
                Some("json: cannot unmarshal array into Go struct field DeploymentSpec.spec.selector of type v1.LabelSelector"),
            ),
            (
                json!({ "spec": { "template": { "spec": { "containers": [{ "resources": { "limits": { "cpu": "lots" } } }] } } } }),
                Some("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"),
            ),
            (
                json!({ "spec": { "strategy": { "rollingUpdate": { "maxSurge": true } } } }),
                Some("json: cannot unmarshal bool into Go value of type int32"),
            ),
            (json!({ "kind": 1 }), Some("json: cannot unmarshal number 1 into Go struct field Deployment.kind of type string")),
            (
                json!({ "spec": { "replicas": 3, "strategy": { "rollingUpdate": { "maxSurge": "25%" } }, "template": null } }),
                None,
            ),
        ];
        for (object, expected) in cases {
            assert_eq!(decode_error(deployment(), &object).as_deref(), expected, "{object}");
        }
    }
}
