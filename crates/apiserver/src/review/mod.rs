//! Questions that are posted and answered at once: who am I, may I.

use std::sync::Arc;

use axum::body::Body;
use http::request::Parts;
use serde_json::{Value, json};
use windlass_api::{
    discovery::{POSTED, Posted},
    kind, schema,
    status::Status,
};

use crate::{
    authn::User,
    body::{self, Gvk},
    metadata,
    negotiate::{self, Format, View},
    path::Place,
    query::{Query, bad_request},
    reply::{self, Response},
    server::Server,
};

mod access;
mod identity;

/// The question that this path takes.
pub(crate) fn find(place: &Place) -> Option<&'static Posted> {
    let fits = |posted: &&Posted| {
        posted.group == place.group
            && posted.version == place.version
            && posted.plural == place.plural
            && posted.namespaced != place.namespace.is_empty()
    };
    if !place.name.is_empty() || !place.subresource.is_empty() {
        return None;
    }
    POSTED.iter().find(fits)
}

/// Answers it.
pub(crate) async fn answer(
    server: &Arc<Server>,
    user: &User,
    posted: &Posted,
    place: &Place,
    parts: &Parts,
    body: Body,
) -> Result<Response, Status> {
    // Before any work is done: there are no tables of answers, nor metadata alone.
    let format = negotiate::answer(&parts.headers, &Query::parse(&parts.uri)?, |view| view == View::Whole)?;
    let expected = Gvk { group: posted.group, version: posted.version, kind: posted.kind };
    let bytes = body::read(body).await?;
    let mut object = body::decode(&bytes, negotiate::body(&parts.headers)?, expected)?.value;
    if let Some(message) = schema::message(expected.group, expected.version, expected.kind) {
        if let Some(error) = schema::decode_error(message, &object) {
            let Gvk { kind, version, .. } = expected;
            return Err(bad_request(format!("{kind} in version \"{version}\" cannot be handled as a {kind}: {error}")));
        }
        schema::prune(message, &mut object);
    }
    let metadata = metadata::map(&mut object);
    metadata.insert("creationTimestamp".to_owned(), Value::Null);
    let status = match posted.plural {
        "selfsubjectreviews" => identity::own(user),
        "tokenreviews" => identity::of_token(server, &object["spec"]).await,
        "selfsubjectrulesreviews" => access::rules(server, user, &object["spec"]).await?,
        "selfsubjectaccessreviews" => access::of(server, user, &object["spec"], "").await?,
        "localsubjectaccessreviews" => access::of_other(server, &object["spec"], &place.namespace).await?,
        "subjectaccessreviews" => access::of_other(server, &object["spec"], "").await?,
        _ => return bind(server, user, place, parts, format, &object).await,
    };
    object["status"] = status;
    Ok(reply::value(201, &object, format.media))
}

/// `bindings`: the older spelling of `pods/binding`, with the pod's name in the body.
async fn bind(
    server: &Arc<Server>,
    user: &User,
    place: &Place,
    parts: &Parts,
    format: Format,
    binding: &Value,
) -> Result<Response, Status> {
    let name = metadata::text(binding, "name").to_owned();
    let kind = kind::find("", "v1", "pods").ok_or_else(|| bad_request("there are no pods"))?;
    if name.is_empty() {
        return Err(bad_request("name must be provided"));
    }
    let query = Query::parse(&parts.uri)?;
    let call = crate::call::Call {
        server: Arc::clone(server),
        user: Arc::new(user.clone()),
        kind,
        namespace: place.namespace.clone(),
        name,
        subresource: "binding".to_owned(),
        format,
        query,
        headers: parts.headers.clone(),
        now: server.clock.now(),
        warnings: std::sync::Mutex::default(),
        home: std::sync::OnceLock::new(),
    };
    crate::subresource::bind(&call, binding).await
}

/// `{"allowed": …}` with a reason where there is one.
fn verdict(allowed: bool, reason: &str) -> Value {
    if reason.is_empty() { json!({ "allowed": allowed }) } else { json!({ "allowed": allowed, "reason": reason }) }
}
