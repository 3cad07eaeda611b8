//! `PUT` of one object.

use serde_json::Value;
use windlass_api::status::Status;

use crate::{
    admission,
    call::{Call, Outcome},
    fields::{self, Books},
    metadata, negotiate,
    query::bad_request,
    reply::Response,
    verb::{
        change::{Change, Surface},
        create,
    },
};

/// Replaces the object with the one in the body.
pub(crate) async fn answer(call: &Call, body: &[u8]) -> Result<Response, Status> {
    let (code, outcome) = replace(call, body, Surface::Main).await?;
    call.object(code, &outcome)
}

/// Replaces the object, or its status; creates it where the kind allows that.
pub(crate) async fn replace(call: &Call, body: &[u8], surface: Surface) -> Result<(u16, Outcome), Status> {
    let dry_run = call.query.dry_run("UpdateOptions")?;
    let validation = call.query.field_validation("UpdateOptions")?;
    let object = fields::read(call, body, negotiate::body(&call.headers)?, create::own(call.kind), validation)?;
    let mut object = settle(call, object)?;
    fields::drop_repeated_owners(call, &mut object, "");
    admission::update(call).await?;
    let change = Change { call, surface, books: Books::Update, dry_run, unconditional: call.kind.updates_unconditionally };
    let mut edit = |_: &Value| Ok(object.clone());
    match change.apply(&mut edit).await {
        Err(status) if status.reason == "NotFound" && surface == Surface::Main && call.kind.creates_on_update => {
            let mut object = object;
            metadata::map(&mut object).remove("resourceVersion");
            Ok((201, create::create(call, object, Books::Update, dry_run).await?))
        }
        outcome => Ok((200, outcome?)),
    }
}

/// The object must be the one that the path names.
///
/// # Errors
/// 400 when it has another name or namespace.
pub(crate) fn settle(call: &Call, mut object: Value) -> Result<Value, Status> {
    create::settle_namespace(call, &mut object)?;
    let name = metadata::text(&object, "name");
    if name.is_empty() {
        return Err(bad_request(format!(
            "the name of the object ({} based on URL) was undeterminable: name must be provided",
            call.name
        )));
    }
    if name != call.name {
        return Err(bad_request(format!("the name of the object ({name}) does not match the name on the URL ({})", call.name)));
    }
    Ok(object)
}
