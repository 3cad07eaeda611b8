//! Fields of a body: which are known, and who owns them.

use serde_json::Value;
use windlass_api::{
    apply::{Writer, track_update},
    codec::json::Document,
    schema::{self, Message, check, decode_error, strict, strict_error},
    status::Status,
};

use crate::{
    body::{self, Gvk},
    call::Call,
    negotiate::BodyMedia,
    query::{FieldValidation, bad_request},
    yaml,
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
    let said_twice = &document.duplicates;
    known(call, document.value, expected, validation, |message, unknown| match media {
        // The order of the body is that of the answer; it is read again only where there is something to say.
        BodyMedia::Json if said_twice.is_empty() && unknown.is_empty() => Vec::new(),
        BodyMedia::Json => strict(message, bytes),
        BodyMedia::Yaml if !said_twice.is_empty() && validation == FieldValidation::Strict => {
            [vec![yaml::error(said_twice)], unknown].concat()
        }
        BodyMedia::Yaml | BodyMedia::Protobuf => [said_twice.clone(), unknown].concat(),
    })
}

/// Deals with the fields of an object that a patch has made.
///
/// # Errors
/// 400 when a field has the wrong type, or the kind does not have it and validation is strict.
pub(crate) fn accept(call: &Call, mut object: Value, expected: Gvk, validation: FieldValidation) -> Result<Value, Status> {
    body::settle(&mut object, expected)?;
    known(call, object, expected, validation, |_, unknown| unknown)
}

/// Drops what the kind does not have; `complaints` makes what is said about it of a line for each such field.
fn known(
    call: &Call,
    mut object: Value,
    expected: Gvk,
    validation: FieldValidation,
    complaints: impl FnOnce(&'static Message, Vec<String>) -> Vec<String>,
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
        let lines = complaints(message, check(message, &object));
        tell(call, lines, validation).map_err(|error| cannot(&error))?;
    }
    schema::prune(message, &mut object);
    Ok(object)
}

/// Warns of these lines, or makes one error of them.
fn tell(call: &Call, lines: Vec<String>, validation: FieldValidation) -> Result<(), String> {
    if !lines.is_empty() && validation == FieldValidation::Strict {
        return Err(strict_error(&lines));
    }
    for line in lines {
        call.warn(line);
    }
    Ok(())
}

/// Deals with keys that an applied configuration names twice; fields that the kind does not have, apply itself refuses.
///
/// # Errors
/// 400 when there are any and validation is strict.
pub(crate) fn report(call: &Call, document: Document, validation: FieldValidation) -> Result<Value, Status> {
    match validation {
        FieldValidation::Strict if !document.duplicates.is_empty() => {
            let why = yaml::error(&document.duplicates);
            return Err(bad_request(format!("error strict decoding YAML: error converting YAML to JSON: {why}")));
        }
        FieldValidation::Warn => document.duplicates.into_iter().for_each(|line| call.warn(line)),
        FieldValidation::Strict | FieldValidation::Ignore => {}
    }
    Ok(document.value)
}

/// What upstream puts into the warning of a patch, in which it looks for repeated owners late.
pub(crate) const AFTER_ADMISSION: &str = " after mutating admission happens";

/// Drops every owner reference that says the same as one before it, with a warning.
pub(crate) fn drop_repeated_owners(call: &Call, object: &mut Value, when: &str) {
    let Some(owners) = object.pointer_mut("/metadata/ownerReferences").and_then(Value::as_array_mut) else { return };
    let (mut kept, mut repeated): (Vec<Value>, Vec<String>) = (Vec::new(), Vec::new());
    for owner in owners.drain(..) {
        if kept.contains(&owner) {
            repeated.push(owner["uid"].as_str().unwrap_or_default().to_owned());
        } else {
            kept.push(owner);
        }
    }
    *owners = kept;
    if !repeated.is_empty() {
        call.warn(format!(
            ".metadata.ownerReferences contains duplicate entries{when}; API server dedups owner references in 1.20+, and may \
             reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {}",
            repeated.join(", ")
        ));
    }
}

/// How a write is booked in `managedFields`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Books {
    /// What it changed is from now on its author's.
    Update,
    /// Not at all: server-side apply has done so, or the server itself writes.
    AsTheyAre,
}

impl Books {
    /// Books what turned `old` into `new`, when defaults are set and before the server fills in anything of its own.
    pub(crate) fn keep(self, call: &Call, new: &mut Value, old: Option<&Value>) {
        if self == Self::AsTheyAre {
            return;
        }
        let kind = call.kind;
        let Some(message) = schema::message(kind.group, kind.version, kind.kind) else { return };
        let manager = call.manager();
        let writer = Writer { manager: &manager, subresource: &call.subresource, now: call.now };
        track_update(message, old, new, &writer);
    }
}
