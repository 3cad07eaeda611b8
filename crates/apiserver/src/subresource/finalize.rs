//! `namespaces/finalize`: whoever kept a namespace lets go of it.

use serde_json::Value;
use windlass_api::status::Status;

use crate::{
    call::Call,
    fields::{self, Books},
    negotiate,
    query::FieldValidation,
    reply::Response,
    verb::{
        change::{Change, Surface},
        create, update,
    },
};

/// Takes `spec.finalizers` from the body; a terminating namespace that has none left is gone.
pub(super) async fn answer(call: &Call, body: &[u8]) -> Result<Response, Status> {
    let dry_run = call.query.dry_run("UpdateOptions")?;
    let media = negotiate::body(&call.headers)?;
    let sent = fields::read(call, body, media, create::own(call.kind), FieldValidation::Ignore)?;
    let sent = update::settle(call, sent)?;
    let change = Change { call, surface: Surface::Own, books: Books::AsTheyAre, dry_run, unconditional: true };
    let mut edit = |old: &Value| {
        let mut new = old.clone();
        new["spec"] = sent["spec"].clone();
        new["metadata"]["resourceVersion"] = sent["metadata"]["resourceVersion"].clone();
        Ok(new)
    };
    let outcome = change.apply(&mut edit).await?;
    call.object(200, &outcome)
}
