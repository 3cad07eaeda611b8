//! `/scale`: how many, of anything that has replicas.

use serde_json::Value;
use windlass_api::{columns, scale, status::Status};

use crate::{
    body::Gvk,
    call::{Call, Outcome},
    fields::{self, Books},
    negotiate::{self, PatchMedia, View},
    query::{FieldValidation, bad_request},
    reply::{self, Response},
    verb::{
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
            let sent = fields::read(call, body, negotiate::body(&call.headers)?, SCALE, FieldValidation::Ignore)?;
            let sent = update::settle(call, sent)?;
            write(call, "UpdateOptions", &mut |_| Ok(sent.clone())).await
        }
        _ => {
            let media = negotiate::patch(&call.headers)?;
            if media == PatchMedia::Apply {
                return Err(bad_request("a Scale cannot be applied"));
            }
            let parsed = patch::parse(body)?.value;
            write(call, "PatchOptions", &mut |scale| patch::merged(SCALE, media, &parsed, scale)).await
        }
    }
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
