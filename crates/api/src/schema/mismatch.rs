//! Values of the wrong JSON type, in the words of upstream's decoder and of its converter.

use serde_json::{Map, Value};

use super::check::at_key;
use super::{Field, Message, Shape, Type};
use crate::quantity::{ParseError, Quantity};

/// What upstream's decoder says of the first value that has the wrong JSON type, such as
/// `json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32`.
///
/// The API server answers 400 with `Deployment in version "v1" cannot be handled as a Deployment: ` before it.
pub fn decode_error(message: &Message, object: &Value) -> Option<String> {
    match object {
        Value::Object(map) => Walk(Words::Decoder).fields(message, map, &mut String::new()),
        other => Some(not_a_go_value(other, &message.go_type())),
    }
}

/// What upstream's converter of decoded objects says of the first value that has the wrong JSON type, such as
/// `unrecognized type: int32`. It reads what a strategic merge patch made, and does not say where.
pub fn convert_error(message: &Message, object: &Value) -> Option<String> {
    match object {
        Value::Object(map) => Walk(Words::Converter).fields(message, map, &mut String::new()),
        other => Some(format!("cannot restore struct from: {}", go_kind(other))),
    }
}

/// Whose words are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Words {
    Decoder,
    Converter,
}

struct Walk(Words);

impl Walk {
    fn fields(&self, message: &Message, map: &Map<String, Value>, path: &mut String) -> Option<String> {
        for (key, value) in map {
            if message.kind && (key == "apiVersion" || key == "kind") && !matches!(value, Value::String(_) | Value::Null) {
                return Some(self.unmarshal(value, message, key, "string"));
            }
            let Some(field) = message.field(key) else { continue };
            if let Some(error) = at_key(path, key, |path| self.field(message, field, value, path)) {
                return Some(error);
            }
        }
        None
    }

    fn unmarshal(&self, value: &Value, owner: &Message, path: &str, go_type: &str) -> String {
        if self.0 == Words::Converter {
            return unconvertible(value, go_type);
        }
        format!("json: cannot unmarshal {} into Go struct field {}.{path} of type {go_type}", describe(value), owner.name)
    }

    fn field(&self, owner: &Message, field: &Field, value: &Value, path: &mut String) -> Option<String> {
        match (field.shape, value) {
            (_, Value::Null) => None,
            (Shape::One, value) => self.element(owner, field, value, path),
            // Go's decoder leaves indices and map keys out of the path.
            (Shape::List, Value::Array(items)) => items.iter().find_map(|item| self.element(owner, field, item, path)),
            (Shape::Map, Value::Object(map)) => map.values().find_map(|item| self.element(owner, field, item, path)),
            (Shape::List, other) => Some(self.unmarshal(other, owner, path, &format!("[]{}", element_type(field)))),
            (Shape::Map, other) => Some(self.unmarshal(other, owner, path, &map_type(field))),
        }
    }

    fn element(&self, owner: &Message, field: &Field, value: &Value, path: &mut String) -> Option<String> {
        let fits = match (field.ty, value) {
            (_, Value::Null) | (Type::RawExtension | Type::FieldsV1, _) => true,
            (Type::Message(_), Value::Object(map)) => return field.message().and_then(|inner| self.fields(inner, map, path)),
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
        if fits {
            return None;
        }
        if self.0 == Words::Converter && matches!(field.ty, Type::Message(_)) {
            return Some(format!("cannot restore struct from: {}", go_kind(value)));
        }
        Some(self.unmarshal(value, owner, path, &element_type(field)))
    }
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

/// Go converts whole numbers to whole numbers, and lets nothing else pass; where its types could be converted in principle, it says
/// so in other words.
fn unconvertible(value: &Value, go_type: &str) -> String {
    let kind = go_kind(value);
    if go_type.starts_with("[]") {
        return format!("cannot restore slice from {kind}");
    }
    if go_type.starts_with("map[") || go_type == "v1.ResourceList" {
        return format!("cannot restore map from {kind}");
    }
    let builtin = matches!(go_type, "bool" | "int32" | "int64" | "string");
    match value {
        Value::Number(number) if !number.is_f64() && !matches!(go_type, "bool" | "int32" | "int64") => {
            format!("cannot convert {kind} to {go_type}")
        }
        Value::Number(_) if matches!(go_type, "int32" | "int64") => format!("cannot convert {kind} to {go_type}"),
        _ if builtin => format!("unrecognized type: {go_type}"),
        _ => "unrecognized type: string".to_owned(),
    }
}

fn go_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "invalid",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "slice",
        Value::Object(_) => "map",
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

    #[test]
    fn the_converter_has_words_of_its_own() {
        for (object, expected) in [
            (json!({ "spec": { "replicas": "3" } }), Some("unrecognized type: int32")),
            (json!({ "spec": { "replicas": 1.5 } }), Some("cannot convert float64 to int32")),
            (json!({ "spec": { "paused": "yes" } }), Some("unrecognized type: bool")),
            (json!({ "metadata": { "labels": { "a": 1 } } }), Some("cannot convert int64 to string")),
            (json!({ "metadata": { "labels": ["a"] } }), Some("cannot restore map from slice")),
            (json!({ "metadata": { "finalizers": "a" } }), Some("cannot restore slice from string")),
            (json!({ "spec": "x" }), Some("cannot restore struct from: string")),
            (json!({ "spec": { "replicas": 3 } }), None),
        ] {
            assert_eq!(convert_error(deployment(), &object).as_deref(), expected, "{object}");
        }
    }
}
