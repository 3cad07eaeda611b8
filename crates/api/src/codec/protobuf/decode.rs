//! From the wire to JSON.

use serde_json::{Map, Value};

use super::wire::{BYTES, Piece, Reader, VARINT};
use super::{Error, special};
use crate::schema::{Field, Message, Shape, Type};

/// The envelope: `runtime.Unknown`.
#[derive(Debug, Default)]
pub(super) struct Envelope<'a> {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) raw: &'a [u8],
}

pub(super) fn envelope(bytes: &[u8]) -> Result<Envelope<'_>, Error> {
    let mut envelope = Envelope::default();
    let mut reader = Reader(bytes);
    while let Some(piece) = reader.next()? {
        match (piece.number, piece.wire) {
            (1, BYTES) => {
                let mut reader = Reader(piece.bytes);
                while let Some(piece) = reader.next()? {
                    match piece.number {
                        1 => envelope.api_version = text(piece.bytes, "apiVersion")?,
                        2 => envelope.kind = text(piece.bytes, "kind")?,
                        _ => {}
                    }
                }
            }
            (2, BYTES) => envelope.raw = piece.bytes,
            _ => {}
        }
    }
    Ok(envelope)
}

/// One message as a JSON object. No message of the table contains itself, so the recursion ends.
pub(super) fn message(message: &Message, bytes: &[u8]) -> Result<Map<String, Value>, Error> {
    let mut object = Map::new();
    fields(message, 0, bytes, &mut object)?;
    Ok(object)
}

fn fields(message: &Message, via: u32, bytes: &[u8], object: &mut Map<String, Value>) -> Result<(), Error> {
    let mut reader = Reader(bytes);
    while let Some(piece) = reader.next()? {
        if via == 0 && message.embeds(piece.number) && piece.wire == BYTES && message.field_numbered(piece.number, 0).is_none() {
            fields(message, piece.number, piece.bytes, object)?;
            continue;
        }
        // A newer client may know fields that this build does not: skipped, as upstream does.
        let Some(field) = message.field_numbered(piece.number, via) else { continue };
        match field.shape {
            Shape::One => {
                let value = element(field, piece)?;
                if field.keeps(&value) {
                    object.insert(field.name.to_owned(), value);
                }
            }
            Shape::List => list(field, piece, object)?,
            Shape::Map => entry(field, piece, object)?,
        }
    }
    Ok(())
}

fn list(field: &Field, piece: Piece<'_>, object: &mut Map<String, Value>) -> Result<(), Error> {
    let slot = object.entry(field.name).or_insert_with(|| Value::Array(Vec::new()));
    let Value::Array(items) = slot else { return Ok(()) };
    let packed = piece.wire == BYTES && matches!(field.ty, Type::Bool | Type::Int32 | Type::Int64);
    if !packed {
        items.push(element(field, piece)?);
        return Ok(());
    }
    let mut rest = Reader(piece.bytes);
    while !rest.0.is_empty() {
        let varint = rest.varint()?;
        items.push(element(field, Piece { wire: VARINT, varint, ..piece })?);
    }
    Ok(())
}

/// One entry of a map: a message of key and value.
fn entry(field: &Field, piece: Piece<'_>, object: &mut Map<String, Value>) -> Result<(), Error> {
    if piece.wire != BYTES {
        return Err(Error::WireType { field: field.name, wire: piece.wire });
    }
    let (mut key, mut held) = (String::new(), None);
    let mut reader = Reader(piece.bytes);
    while let Some(part) = reader.next()? {
        match part.number {
            1 => key = text(part.bytes, field.name)?,
            2 => held = Some(part),
            _ => {}
        }
    }
    let unset = Piece { number: 2, wire: BYTES, varint: 0, bytes: &[] };
    let value = element(field, held.unwrap_or(unset))?;
    if let Value::Object(map) = object.entry(field.name).or_insert_with(|| Value::Object(Map::new())) {
        map.insert(key, value);
    }
    Ok(())
}

fn element(field: &Field, piece: Piece<'_>) -> Result<Value, Error> {
    let name = field.name;
    let expected = if matches!(field.ty, Type::Bool | Type::Int32 | Type::Int64) { VARINT } else { BYTES };
    if piece.wire != expected {
        return Err(Error::WireType { field: name, wire: piece.wire });
    }
    Ok(match field.ty {
        Type::Bool => (piece.varint != 0).into(),
        Type::Int32 => int32(piece.varint).into(),
        Type::Int64 => piece.varint.cast_signed().into(),
        Type::String => text(piece.bytes, name)?.into(),
        Type::Bytes => special::base64(piece.bytes),
        Type::Quantity => special::quantity(piece.bytes, name)?,
        Type::Time => special::time(piece.bytes, false, name)?,
        Type::MicroTime => special::time(piece.bytes, true, name)?,
        Type::IntOrString => special::int_or_string(piece.bytes, name)?,
        Type::RawExtension | Type::FieldsV1 => special::raw(piece.bytes, name)?,
        Type::Strings => special::strings(piece.bytes, name)?,
        Type::Message(_) => match field.message() {
            Some(inner) => Value::Object(message(inner, piece.bytes)?),
            None => Value::Null,
        },
    })
}

/// Protobuf sign-extends 32-bit numbers to 64 bits.
#[expect(clippy::cast_possible_truncation, reason = "the upper half is the sign")]
pub(super) fn int32(varint: u64) -> i32 {
    varint as i32
}

fn text(bytes: &[u8], field: &'static str) -> Result<String, Error> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| Error::Text(field))
}
