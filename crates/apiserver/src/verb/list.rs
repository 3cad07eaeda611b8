//! `GET` of a collection: selectors, pages, and reads at a revision.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use windlass_api::{status::Status, validation::Cause};
use windlass_storage::{Entry, Error, Page, Range, Revision};

use crate::{
    call::Call,
    query::{Query, bad_request, invalid_option},
    registry::{self, selection::Selection},
    reply::{self, Response},
};

/// With a selector, a page may need many reads: so many entries are read at once.
const READ_AHEAD: usize = 500;

/// What `continue` carries, in upstream's form.
#[derive(Debug, Serialize, Deserialize)]
struct Continue {
    v: String,
    /// Revision of the first page; -1 where the rest is read as it is now.
    rv: i64,
    /// The last key of the page before, below the collection's prefix, with upstream's zero byte.
    start: String,
}

const CONTINUE_VERSION: &str = "meta.k8s.io/v1";

const EXPIRED_CONTINUE: &str = "The provided continue parameter is too old to display a consistent list result. You can start a \
                                new list without the continue parameter, or use the continue token in this response to retrieve \
                                the remainder of the results. Continuing with the provided token results in an inconsistent list \
                                - objects that were created, modified, or deleted between the time the first chunk was returned \
                                and now may show up in the list.";

/// One page of a collection.
struct Found {
    entries: Vec<Entry>,
    revision: Revision,
    /// Key to go on after, and how many entries come after it.
    rest: Option<(String, usize)>,
}

/// Answers with the collection, or a page of it.
pub(crate) async fn answer(call: &Call) -> Result<Response, Status> {
    let query = &call.query;
    check_options(query, false)?;
    let selection = Selection::parse(call.kind, query)?;
    let prefix = registry::prefix(call.kind, &call.namespace);
    let limit = usize::try_from(query.integer("limit")?.unwrap_or(0)).unwrap_or(0);
    let (at, after) = start(call, &prefix, limit).await?;
    let found = match read(call, &prefix, at, after.clone(), limit, &selection).await {
        Ok(found) => found,
        Err(Error::Compacted { .. }) if query.get("continue").is_some() => return expired(&prefix, after.as_deref()),
        Err(error) => return Err(registry::failed(&error)),
    };
    let mut metadata = json!({ "resourceVersion": found.revision.to_string() });
    if let Some((last, remaining)) = &found.rest {
        metadata["continue"] = token(&prefix, last, i64::try_from(found.revision).unwrap_or(-1)).into();
        if selection.is_everything() {
            metadata["remainingItemCount"] = (*remaining).into();
        }
    }
    let body = call.projection()?.list(metadata, &found.entries)?;
    Ok(reply::bytes(200, body, call.format.media))
}

/// The revision to read at (`None`: now) and the key to start after.
async fn start(call: &Call, prefix: &str, limit: usize) -> Result<(Option<Revision>, Option<String>), Status> {
    let query = &call.query;
    if let Some(token) = query.get("continue") {
        if query.get("resourceVersion").is_some_and(|version| version != "0") {
            return Err(bad_request("specifying resource version is not allowed when using continue"));
        }
        return read_token(prefix, token);
    }
    let Some(asked) = resource_version(query)? else { return Ok((None, None)) };
    let exact = query.get("resourceVersionMatch") == Some("Exact")
        // As upstream: an unqualified revision with a limit is exact, without one the least that will do.
        || query.get("resourceVersionMatch").is_none() && limit > 0;
    let newest = call.server.registry.store.revision().await.map_err(|error| registry::failed(&error))?;
    if asked > newest {
        return Err(registry::too_large(asked, newest));
    }
    Ok((exact.then_some(asked), None))
}

async fn read(
    call: &Call,
    prefix: &str,
    at: Option<Revision>,
    after: Option<String>,
    limit: usize,
    selection: &Selection,
) -> Result<Found, Error> {
    let (store, facts) = (&call.server.registry.store, &call.server.registry.facts);
    let everything = selection.is_everything();
    let (mut at, mut after) = (at, after);
    let mut entries = Vec::new();
    loop {
        let ask = match (limit, everything) {
            (0, _) => 0,
            (limit, true) => limit,
            (limit, false) => limit.max(READ_AHEAD),
        };
        let Page { entries: page, revision, remaining } =
            store.list(Range { prefix: prefix.to_owned(), after: after.take(), at, limit: ask }).await?;
        let read = page.len();
        for (index, entry) in page.into_iter().enumerate() {
            if !selection.matches(facts, call.kind, &entry) {
                after = Some(entry.key.to_string());
                continue;
            }
            after = Some(entry.key.to_string());
            entries.push(entry);
            let rest = remaining + read - index - 1;
            if limit > 0 && entries.len() == limit {
                let rest = after.filter(|_| rest > 0).map(|last| (last, rest));
                return Ok(Found { entries, revision, rest });
            }
        }
        if remaining == 0 {
            return Ok(Found { entries, revision, rest: None });
        }
        at = Some(revision);
    }
}

fn token(prefix: &str, last: &str, revision: i64) -> String {
    let start = format!("{}\0", last.strip_prefix(prefix).unwrap_or(last));
    let token = Continue { v: CONTINUE_VERSION.to_owned(), rv: revision, start };
    URL_SAFE_NO_PAD.encode(json!(token).to_string())
}

fn read_token(prefix: &str, token: &str) -> Result<(Option<Revision>, Option<String>), Status> {
    let invalid = |why: &str| bad_request(format!("continue key is not valid: {why}"));
    let bytes = URL_SAFE_NO_PAD.decode(token.trim_end_matches('=')).map_err(|error| invalid(&error.to_string()))?;
    let token: Continue = serde_json::from_slice(&bytes).map_err(|error| invalid(&error.to_string()))?;
    if token.v != CONTINUE_VERSION {
        return Err(invalid(&format!("server does not recognize this encoded version {:?}", token.v)));
    }
    if token.start.is_empty() || token.rv == 0 {
        return Err(invalid("incorrect encoded start resourceVersion (version meta.k8s.io/v1)"));
    }
    let after = format!("{prefix}{}", token.start.trim_end_matches('\0'));
    Ok((Revision::try_from(token.rv).ok(), Some(after)))
}

/// 410, with a token that goes on from the same place as the collection is now.
fn expired(prefix: &str, after: Option<&str>) -> Result<Response, Status> {
    let mut body = Status::request(410, "Expired", EXPIRED_CONTINUE).to_value();
    body["metadata"]["continue"] = token(prefix, after.unwrap_or_default(), -1).into();
    Ok(reply::json(410, body.to_string()))
}

/// The revision that a list or watch names; `None` for none and for 0, which both mean: as it is now.
///
/// # Errors
/// 400 when it is not a number.
pub(crate) fn resource_version(query: &Query) -> Result<Option<Revision>, Status> {
    let Some(text) = query.get("resourceVersion") else { return Ok(None) };
    let parsed: Result<Revision, _> = text.parse();
    let revision = parsed.map_err(|_| {
        bad_request(format!(
            "invalid resource version: resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
        ))
    })?;
    Ok((revision > 0).then_some(revision))
}

/// Upstream's `ValidateListOptions`.
///
/// # Errors
/// 422 for combinations that make no sense.
pub(crate) fn check_options(query: &Query, watch: bool) -> Result<(), Status> {
    let forbidden = |field: &str, detail: &str| Err(invalid_option("ListOptions", Cause::Forbidden, field, Value::Null, detail));
    let version = query.get("resourceVersion");
    let matching = query.get("resourceVersionMatch");
    let initial_events = query.get("sendInitialEvents").is_some();
    if initial_events && !watch {
        return forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list");
    }
    if initial_events && matching != Some("NotOlderThan") {
        return forbidden("resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
    }
    let Some(matching) = matching else { return Ok(()) };
    if watch && !initial_events {
        return forbidden(
            "resourceVersionMatch",
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        );
    }
    if version.is_none() && !initial_events {
        return forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided");
    }
    if query.get("continue").is_some() {
        return forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided");
    }
    if !matches!(matching, "Exact" | "NotOlderThan") {
        let detail = "supported values: \"\", \"Exact\", \"NotOlderThan\"";
        return Err(invalid_option("ListOptions", Cause::NotSupported, "resourceVersionMatch", matching.into(), detail));
    }
    if matching == "Exact" && version == Some("0") {
        return forbidden("resourceVersionMatch", "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
    }
    Ok(())
}
