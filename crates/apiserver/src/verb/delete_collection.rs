//! `DELETE` of a collection.

use windlass_api::status::Status;
use windlass_storage::Range;

use crate::{
    call::Call,
    registry::{self, selection::Selection},
    reply::{self, Response},
    verb::delete::{self, DeleteOptions},
};

/// Deletes every object that the selectors mean, and answers with what they were.
pub(crate) async fn answer(call: &Call, body: &[u8]) -> Result<Response, Status> {
    let options = DeleteOptions::read(call, body)?;
    let selection = Selection::parse(call.kind, &call.query)?;
    let prefix = registry::prefix(call.kind, &call.namespace);
    let page = call.server.registry.store.list(Range { prefix, ..Range::default() }).await;
    let page = page.map_err(|error| registry::failed(&error))?;
    let facts = &call.server.registry.facts;
    let mut entries = page.entries;
    entries.retain(|entry| selection.matches(facts, call.kind, entry));
    for entry in &entries {
        let name = entry.key.rsplit('/').next().unwrap_or_default();
        match delete::remove(call, name, &options).await {
            Ok(_) => {}
            // Somebody else was faster, which is as good.
            Err(status) if status.reason == "NotFound" => {}
            Err(status) => return Err(status),
        }
    }
    let metadata = serde_json::json!({ "resourceVersion": page.revision.to_string() });
    let body = call.projection()?.list(metadata, &entries)?;
    Ok(reply::bytes(200, body, call.format.media))
}
