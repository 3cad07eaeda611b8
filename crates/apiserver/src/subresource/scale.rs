//! `/scale`: how many, of anything that has replicas.

use serde_json::Value;
use windlass_api::{apply::Writer, columns, scale, schema, status::Status};

use crate::{
    body::{self, Gvk},
    call::{Call, Outcome},
    fields::{self, Books},
    negotiate::{self, BodyMedia, PatchMedia, View},
    query::FieldValidation,
    reply::{self, Response},
    verb::{
        apply,
        change::{self, Change, Surface},
        patch, update,
    },
};

const SCALE: Gvk = Gvk { group: "autoscaling", version: "v1", kind: "Scale" };

/// Reads, replaces or patches the Scale of the object.
pub(super) async fn answer(call: &Call, verb: &str, body: &[u8]) -> Result<Response, Status> {
    match verb {
        "get" => {
            let entry = call.server.registry.get(call.kind, &call.namespace, &call.name).await?;
            reply_with(call, &Outcome::Stored(entry))
        }
        "update" => {
            let validation = call.query.field_validation("UpdateOptions")?;
            let sent = fields::read(call, body, negotiate::body(&call.headers)?, SCALE, validation)?;
            let sent = update::settle(call, sent)?;
            write(call, "UpdateOptions", &mut |_| Ok(sent.clone())).await
        }
        _ => {
            let media = negotiate::patch(&call.headers)?;
            if media == PatchMedia::Apply {
                return apply(call, body).await;
            }
            let parsed = patch::parse(body)?.value;
            write(call, "PatchOptions", &mut |scale| patch::merged(SCALE, media, &parsed, scale)).await
        }
    }
}

/// Applies how many replicas there shall be. It is a field of the object itself, so it is there that owners are kept, under the
/// object's own version; the Scale is only the way that it came.
async fn apply(call: &Call, body: &[u8]) -> Result<Response, Status> {
    let kind = call.kind;
    let dry_run = call.query.dry_run("PatchOptions")?;
    let validation = call.query.field_validation("PatchOptions")?;
    let manager = apply::manager(call)?;
    let message = schema::message(kind.group, kind.version, kind.kind).ok_or_else(negotiate::unsupported_patch)?;
    let sent = fields::report(call, body::decode(body, BodyMedia::Yaml, SCALE)?, validation)?;
    let sent = fields::accept(call, sent, SCALE, validation)?;
    let errors = scale::validate(&sent);
    if !errors.is_empty() {
        return Err(Status::invalid(SCALE.group, SCALE.kind, &call.name, &errors));
    }
    let config = scale::configuration(kind, &sent);
    let writer = Writer { manager, subresource: &call.subresource, now: call.now };
    let change = Change { call, surface: Surface::Main, books: Books::AsTheyAre, dry_run, unconditional: true };
    let force = call.query.flag("force");
    let mut edit = |old: &Value| apply::settle(call, apply::merge(message, Some(old), &config, &writer, force)?);
    let outcome = change.apply(&mut edit).await?;
    reply_with(call, &outcome)
}

/// Takes over the replicas of the Scale that `edit` makes of the present one.
async fn write(
    call: &Call,
    options: &str,
    edit: &mut (dyn FnMut(&Value) -> Result<Value, Status> + Send),
) -> Result<Response, Status> {
    let dry_run = call.query.dry_run(options)?;
    let change = Change { call, surface: Surface::Main, books: Books::Update, dry_run, unconditional: true };
    let mut edit = |old: &Value| {
        let sent = edit(&of(call, old)?)?;
        let sent = fields::accept(call, sent, SCALE, FieldValidation::Ignore)?;
        let errors = scale::validate(&sent);
        if !errors.is_empty() {
            return Err(Status::invalid(SCALE.group, SCALE.kind, &call.name, &errors));
        }
        Ok(scale::apply(old, &sent))
    };
    let outcome = change.apply(&mut edit).await?;
    reply_with(call, &outcome)
}

fn reply_with(call: &Call, outcome: &Outcome) -> Result<Response, Status> {
    let scale = of(call, &change::value(outcome)?)?;
    let View::Table(_) = call.format.view else { return Ok(reply::value(200, &scale, call.format.media)) };
    let view = columns::View { now: call.now, include: call.projection()?.include, describe_columns: true };
    Ok(reply::value(200, &columns::scale_table(&scale, view), call.format.media))
}

fn of(call: &Call, object: &Value) -> Result<Value, Status> {
    scale::of(call.kind, object).ok_or_else(|| Status::not_found(call.kind.resource(), &call.name))
}
