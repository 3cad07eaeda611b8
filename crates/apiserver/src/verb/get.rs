//! `GET` of one object.

use windlass_api::status::Status;

use crate::{
    call::{Call, Outcome},
    reply::Response,
};

/// Answers with the object as it is now: no read is older than the last write that was acknowledged.
pub(crate) async fn answer(call: &Call) -> Result<Response, Status> {
    let entry = call.server.registry.get(call.kind, &call.namespace, &call.name).await?;
    call.object(200, &Outcome::Stored(entry))
}
