//! From JSON to the wire.

use serde_json::{Map, Value};

use super::wire::{write_bytes, write_number};
use super::{MAGIC, special};
use crate::schema::{self, Field, Message, Shape, Type};

/// The body that a client which asks for `application/vnd.kubernetes.protobuf` gets; `None` for a kind without a message.
///
/// The object is taken to fit its kind: a value of another JSON type is written as the zero of its field.
pub fn encode(object: &Value) -> Option<Vec<u8>> {
    let (api_version, kind) = (object.get("apiVersion")?.as_str()?, object.get("kind")?.as_str()?);
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let message = schema::message(group, version, kind)?;
    let mut type_meta = Vec::new();
    write_bytes(&mut type_meta, 1, api_version.as_bytes());
    write_bytes(&mut type_meta, 2, kind.as_bytes());
    let mut out = MAGIC.to_vec();
    write_bytes(&mut out, 1, &type_meta);
    write_bytes(&mut out, 2, &encode_message(message, object.as_object()?));
    write_bytes(&mut out, 3, b"");
    write_bytes(&mut out, 4, b"");
    Some(out)
}

fn encode_message(message: &Message, object: &Map<String, Value>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut embedded: Vec<(u32, Vec<u8>)> = Vec::new();
    for (key, value) in object {
        let Some(field) = message.field(key).filter(|field| field.number != 0 && !value.is_null()) else { continue };
        if field.via == 0 {
            encode_field(&mut out, field, value);
            continue;
        }
        let place = embedded.iter().position(|(number, _)| *number == field.via).unwrap_or_else(|| {
            embedded.push((field.via, Vec::new()));
            embedded.len() - 1
        });
        if let Some((_, inner)) = embedded.get_mut(place) {
            encode_field(inner, field, value);
        }
    }
    for (number, inner) in embedded {
        write_bytes(&mut out, number, &inner);
    }
    out
}

fn encode_field(out: &mut Vec<u8>, field: &Field, value: &Value) {
    match (field.shape, value) {
        (Shape::List, Value::Array(items)) => {
            for item in items {
                encode_element(out, field.number, field, item);
            }
        }
        (Shape::Map, Value::Object(map)) => {
            for (key, item) in map {
                let mut entry = Vec::new();
                write_bytes(&mut entry, 1, key.as_bytes());
                encode_element(&mut entry, 2, field, item);
                write_bytes(out, field.number, &entry);
            }
        }
        (Shape::One, value) => encode_element(out, field.number, field, value),
        _ => {}
    }
}

fn encode_element(out: &mut Vec<u8>, number: u32, field: &Field, value: &Value) {
    match field.ty {
        Type::Bool => write_number(out, number, u64::from(value.as_bool().unwrap_or_default())),
        Type::Int32 | Type::Int64 => write_number(out, number, value.as_i64().unwrap_or_default().cast_unsigned()),
        Type::String => write_bytes(out, number, value.as_str().unwrap_or_default().as_bytes()),
        Type::Bytes => write_bytes(out, number, &special::write::base64(value)),
        Type::Quantity => write_bytes(out, number, &special::write::quantity(value)),
        Type::Time | Type::MicroTime => write_bytes(out, number, &special::write::time(value)),
        Type::IntOrString => write_bytes(out, number, &special::write::int_or_string(value)),
        Type::RawExtension | Type::FieldsV1 => write_bytes(out, number, &special::write::raw(value)),
        Type::Strings => write_bytes(out, number, &special::write::strings(value)),
        Type::Message(_) => {
            if let (Some(message), Value::Object(object)) = (field.message(), value) {
                write_bytes(out, number, &encode_message(message, object));
            }
        }
    }
}
