//! Server-side apply: `PATCH` with `application/apply-patch+yaml`.

use serde_json::Value;
use windlass_api::{
    apply::{self, Writer},
    schema::{self, Message},
    status::Status,
    validation::Cause,
};

use crate::{
    admission, body,
    call::{Call, Outcome},
    fields::{self, Books},
    metadata,
    negotiate::{self, BodyMedia},
    query::{FieldValidation, invalid_option},
    reply::Response,
    verb::{
        change::{Change, Surface},
        create, update,
    },
};

/// Applies the configuration in the body for its field manager; creates the object where there is none.
pub(crate) async fn answer(
    call: &Call,
    body: &[u8],
    surface: Surface,
    dry_run: bool,
    validation: FieldValidation,
) -> Result<Response, Status> {
    let kind = call.kind;
    let manager = manager(call)?;
    let message = schema::message(kind.group, kind.version, kind.kind).ok_or_else(negotiate::unsupported_patch)?;
    let document = body::decode(body, BodyMedia::Yaml, create::own(kind))?;
    let config = fields::report(call, document, validation)?;
    admission::update(call).await?;
    let force = call.query.flag("force");
    let writer = Writer { manager, subresource: &call.subresource, now: call.now };
    let change = Change { call, surface, books: Books::AsTheyAre, dry_run, unconditional: true };
    let mut edit = |old: &Value| settle(call, merge(message, Some(old), &config, &writer, force)?);
    match change.apply(&mut edit).await {
        Err(status) if status.reason == "NotFound" && surface == Surface::Main => {
            let created = create(call, message, &config, &writer, dry_run).await?;
            call.object(201, &created)
        }
        outcome => call.object(200, &outcome?),
    }
}

/// Who applies, which must be said.
///
/// # Errors
/// 422 where it is not.
pub(crate) fn manager(call: &Call) -> Result<&str, Status> {
    let detail = "is required for apply patch";
    let required = || invalid_option("PatchOptions", Cause::Required, "fieldManager", Value::Null, detail);
    call.query.get("fieldManager").ok_or_else(required)
}

async fn create(
    call: &Call,
    message: &'static Message,
    config: &Value,
    writer: &Writer<'_>,
    dry_run: bool,
) -> Result<Outcome, Status> {
    if !metadata::text(config, "uid").is_empty() {
        let why = format!(
            "uid mismatch: the provided object specified uid {}, and no existing object was found",
            metadata::text(config, "uid")
        );
        return Err(Status::conflict(call.kind.resource(), &call.name, &why));
    }
    let object = settle(call, merge(message, None, config, writer, true)?)?;
    create::create(call, object, Books::AsTheyAre, dry_run).await
}

/// What came of it must be the object of the path. A configuration for one that exists need not name it.
///
/// # Errors
/// 400 where it is another.
pub(crate) fn settle(call: &Call, merged: Value) -> Result<Value, Status> {
    let mut object = update::settle(call, merged)?;
    fields::drop_repeated_owners(call, &mut object, fields::AFTER_ADMISSION);
    Ok(object)
}

/// The object, or a new one, with the configuration applied.
///
/// # Errors
/// 409 where others own what it changes, 400 and 500 where it does not fit the kind.
pub(crate) fn merge(
    message: &'static Message,
    old: Option<&Value>,
    config: &Value,
    writer: &Writer<'_>,
    force: bool,
) -> Result<Value, Status> {
    let mut new = apply::apply(message, old, config, writer, force).map_err(|error| error.to_status())?;
    if let (Some(old), "") = (old, metadata::text(config, "resourceVersion")) {
        metadata::map(&mut new).insert("resourceVersion".to_owned(), old["metadata"]["resourceVersion"].clone());
    }
    schema::prune(message, &mut new);
    Ok(new)
}
