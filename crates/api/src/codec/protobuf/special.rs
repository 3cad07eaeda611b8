//! Types whose JSON form is not the object of their protobuf fields: times, quantities, raw objects.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::Value;

use super::wire::{BYTES, Reader, VARINT, write_bytes, write_number};
use super::{Error, decode};

/// The bytes of field 1, which is all that quantities and raw objects have.
fn first_bytes<'a>(bytes: &'a [u8], field: &'static str) -> Result<&'a [u8], Error> {
    let mut reader = Reader(bytes);
    let mut found: &[u8] = &[];
    while let Some(piece) = reader.next()? {
        if piece.number == 1 {
            if piece.wire != BYTES {
                return Err(Error::WireType { field, wire: piece.wire });
            }
            found = piece.bytes;
        }
    }
    Ok(found)
}

fn text(bytes: &[u8], field: &'static str) -> Result<String, Error> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| Error::Text(field))
}

pub(super) fn quantity(bytes: &[u8], field: &'static str) -> Result<Value, Error> {
    let quantity = text(first_bytes(bytes, field)?, field)?;
    Ok(if quantity.is_empty() { "0".into() } else { quantity.into() })
}

/// Seconds and nanoseconds since 1970; a time that was never set is an empty message, and null.
fn instant(bytes: &[u8]) -> Result<Option<(i64, i32)>, Error> {
    let mut reader = Reader(bytes);
    let (mut seconds, mut nanos) = (0, 0);
    let mut set = false;
    while let Some(piece) = reader.next()? {
        set = true;
        match piece.number {
            1 => seconds = piece.varint.cast_signed(),
            2 => nanos = decode::int32(piece.varint),
            _ => {}
        }
    }
    Ok(set.then_some((seconds, nanos)))
}

/// The zero of Go's `time.Time`, which clients write for a time that was never set.
const GO_ZERO_SECONDS: i64 = -62_135_596_800;

pub(super) fn time(bytes: &[u8], micro: bool, field: &'static str) -> Result<Value, Error> {
    let Some((seconds, nanos)) = instant(bytes)? else { return Ok(Value::Null) };
    if seconds == GO_ZERO_SECONDS && nanos == 0 {
        return Ok(Value::Null);
    }
    // JSON holds no fraction of a `Time`, so upstream drops it here as well.
    let timestamp = Timestamp::new(seconds, if micro { nanos } else { 0 }).map_err(|_| Error::Text(field))?;
    Ok(if micro { format!("{timestamp:.6}").into() } else { format!("{timestamp:.0}").into() })
}

pub(super) fn int_or_string(bytes: &[u8], field: &'static str) -> Result<Value, Error> {
    let mut reader = Reader(bytes);
    let (mut is_string, mut number, mut string) = (false, 0, String::new());
    while let Some(piece) = reader.next()? {
        match (piece.number, piece.wire) {
            (1, VARINT) => is_string = piece.varint == 1,
            (2, VARINT) => number = decode::int32(piece.varint),
            (3, BYTES) => string = text(piece.bytes, field)?,
            (1..=3, wire) => return Err(Error::WireType { field, wire }),
            _ => {}
        }
    }
    Ok(if is_string { string.into() } else { number.into() })
}

/// A raw object or field set: JSON in bytes.
pub(super) fn raw(bytes: &[u8], field: &'static str) -> Result<Value, Error> {
    match first_bytes(bytes, field)? {
        [] => Ok(Value::Null),
        json => super::super::json::decode(json).map(|(value, _)| value).map_err(|_| Error::Text(field)),
    }
}

pub(super) fn strings(bytes: &[u8], field: &'static str) -> Result<Value, Error> {
    let mut reader = Reader(bytes);
    let mut items = Vec::new();
    while let Some(piece) = reader.next()? {
        if piece.number == 1 {
            items.push(text(piece.bytes, field)?.into());
        }
    }
    Ok(Value::Array(items))
}

pub(super) fn base64(bytes: &[u8]) -> Value {
    STANDARD.encode(bytes).into()
}

/// The message of a special type, from its JSON; what does not fit is left empty, as the API server checks types first.
pub(super) mod write {
    use super::*;

    pub(in super::super) fn time(value: &Value) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some(timestamp) = value.as_str().and_then(|text| text.parse::<Timestamp>().ok()) {
            write_number(&mut out, 1, timestamp.as_second().cast_unsigned());
            write_number(&mut out, 2, i64::from(timestamp.subsec_nanosecond()).cast_unsigned());
        }
        out
    }

    pub(in super::super) fn int_or_string(value: &Value) -> Vec<u8> {
        let mut out = Vec::new();
        write_number(&mut out, 1, u64::from(value.is_string()));
        write_number(&mut out, 2, value.as_i64().unwrap_or_default().cast_unsigned());
        write_bytes(&mut out, 3, value.as_str().unwrap_or_default().as_bytes());
        out
    }

    pub(in super::super) fn quantity(value: &Value) -> Vec<u8> {
        let mut out = Vec::new();
        match value {
            Value::String(text) => write_bytes(&mut out, 1, text.as_bytes()),
            other => write_bytes(&mut out, 1, other.to_string().as_bytes()),
        }
        out
    }

    pub(in super::super) fn raw(value: &Value) -> Vec<u8> {
        let mut out = Vec::new();
        write_bytes(&mut out, 1, value.to_string().as_bytes());
        out
    }

    pub(in super::super) fn strings(value: &Value) -> Vec<u8> {
        let mut out = Vec::new();
        for item in value.as_array().into_iter().flatten().filter_map(Value::as_str) {
            write_bytes(&mut out, 1, item.as_bytes());
        }
        out
    }

    pub(in super::super) fn base64(value: &Value) -> Vec<u8> {
        value.as_str().and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default()
    }
}
