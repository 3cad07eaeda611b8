//! From a request to the handler that answers it.

use std::{sync::Arc, time::Duration};

use axum::{body::Body, extract::Request};
use http::{HeaderValue, Method, request::Parts};
use windlass_api::{
    kind::{self, Kind},
    status::Status,
};

use crate::{
    authn::{self, User},
    authz::{self, Attributes},
    body,
    call::Call,
    component_status, definitions, discovery, duration, health, metadata,
    negotiate::{self, View},
    openid,
    path::{self, Place, Target},
    query::{Query, bad_request},
    reply::{self, Response},
    review,
    server::Server,
    subresource, verb,
};

/// Upstream's limit for a request that is not meant to last.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// A request by a part of this process.
pub(crate) async fn trusted(server: Arc<Server>, user: Arc<User>, request: Request<Body>) -> Response {
    answer(&server, user, request).await
}

/// A request that came over a socket.
pub(crate) async fn from_socket(server: Arc<Server>, request: Request<Body>) -> Response {
    let audit_id = HeaderValue::from_str(&metadata::uid(&*server.random)).ok();
    let mut response = guarded(&server, request).await;
    if let Some(audit_id) = audit_id {
        response.headers_mut().insert("audit-id", audit_id);
    }
    response
}

async fn guarded(server: &Arc<Server>, request: Request<Body>) -> Response {
    let long = is_long(&request);
    let _place = match (long, server.in_flight.try_acquire()) {
        (true, _) => None,
        (false, Ok(place)) => Some(place),
        (false, Err(_)) => {
            let mut response = reply::text(429, "Too many requests, please try again later.\n");
            response.headers_mut().insert(http::header::RETRY_AFTER, HeaderValue::from_static("1"));
            return response;
        }
    };
    let limit = match timeout(&request) {
        Ok(limit) => limit,
        Err(status) => return reply::status(&status),
    };
    let user = match authn::authenticate(server, request.headers()).await {
        Ok(user) => user,
        Err(status) => return reply::status(&status),
    };
    if user.name == "system:anonymous" && !health::is_public(request.uri().path()) {
        return reply::status(&authn::unauthorized());
    }
    if long {
        return answer(server, user, request).await;
    }
    match tokio::time::timeout(limit, answer(server, user, request)).await {
        Ok(response) => response,
        Err(_) => {
            reply::status(&Status::request(504, "Timeout", "Timeout: request did not complete within the allotted timeout"))
        }
    }
}

/// Watches, logs and the streams of a container last as long as they last.
fn is_long(request: &Request<Body>) -> bool {
    let path = request.uri().path();
    let watches = || Query::parse(request.uri()).is_ok_and(|query| query.flag("watch"));
    let streams = ["/log", "/exec", "/attach", "/portforward", "/proxy"].iter().any(|end| path.ends_with(end));
    streams || path.contains("/proxy/") || path.contains("/watch/") || watches()
}

/// `?timeout=30s` may shorten the limit of a request that is not meant to last; as upstream, 0 and less say nothing.
///
/// # Errors
/// 400 for what is not a duration.
fn timeout(request: &Request<Body>) -> Result<Duration, Status> {
    let query = Query::parse(request.uri()).unwrap_or_default();
    let Some(text) = query.get("timeout").filter(|_| !is_long(request)) else { return Ok(REQUEST_TIMEOUT) };
    let seconds = duration::seconds(text)
        .map_err(|error| bad_request(format!("invalid timeout specified in the request URL - {error}")))?;
    Ok(if seconds > 0.0 { Duration::from_secs_f64(seconds).min(REQUEST_TIMEOUT) } else { REQUEST_TIMEOUT })
}

async fn answer(server: &Arc<Server>, user: Arc<User>, request: Request<Body>) -> Response {
    let started = tokio::time::Instant::now();
    let (parts, body) = request.into_parts();
    let target = path::parse(parts.uri.path());
    let verb = verb_of(&parts, &target);
    let resource = if let Target::Resource(place) = &target { place.plural.clone() } else { String::new() };
    let response = match route(server, user, &target, verb, parts, body).await {
        Ok(response) => response,
        Err(status) => reply::status(&status),
    };
    server.metrics.observe(verb, &resource, response.status().as_u16(), started.elapsed());
    response
}

/// Upstream's verb for a request: what authorization and metrics go by.
fn verb_of(parts: &Parts, target: &Target) -> &'static str {
    let collection = matches!(target, Target::Resource(place) if place.name.is_empty());
    let watch = matches!(target, Target::Resource(place) if place.watch)
        || collection && Query::parse(&parts.uri).is_ok_and(|query| query.flag("watch"));
    match parts.method {
        Method::GET | Method::HEAD if watch => "watch",
        Method::GET | Method::HEAD if collection => "list",
        Method::GET | Method::HEAD => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if collection => "deletecollection",
        Method::DELETE => "delete",
        _ => "",
    }
}

async fn route(
    server: &Arc<Server>,
    user: Arc<User>,
    target: &Target,
    verb: &'static str,
    parts: Parts,
    body: Body,
) -> Result<Response, Status> {
    let Target::Resource(place) = target else {
        authz::check_path(server, &user, verb, parts.uri.path()).await?;
        if let Target::Other = target {
            if let Some(response) = server.documents.answer(&parts).or_else(|| openid::answer(server, &parts)) {
                return Ok(response);
            }
            return health::answer(server, &parts).await;
        }
        let (host, port) = server.advertise;
        return Ok(discovery::answer(target, &parts, &format!("{host}:{port}")));
    };
    authz::check(server, &Attributes { user: &user, verb, place }).await?;
    if let Some(review) = review::find(place) {
        return if parts.method == Method::POST {
            review::answer(server, &user, review, place, &parts, body).await
        } else {
            Ok(reply::no_such_method())
        };
    }
    if definitions::are_meant(place) {
        return definitions::answer(server, verb, &parts).await;
    }
    let Some(kind) = kind::find(&place.group, &place.version, &place.plural) else { return Ok(reply::no_such_path()) };
    if !fits(kind, place) {
        return Ok(reply::no_such_path());
    }
    let call = call(server, user, kind, place, verb, &parts)?;
    if let Some(text) = kind.deprecation {
        call.warn(text);
    }
    let outcome = handle(&call, verb, place, parts, body).await;
    let mut response = outcome.unwrap_or_else(|status| reply::status(&status));
    call.attach_warnings(&mut response);
    Ok(response)
}

/// Whether the path has the shape that the kind's scope asks for.
fn fits(kind: &Kind, place: &Place) -> bool {
    if kind.namespaced { place.name.is_empty() || !place.namespace.is_empty() } else { place.namespace.is_empty() }
}

fn call(
    server: &Arc<Server>,
    user: Arc<User>,
    kind: &'static Kind,
    place: &Place,
    verb: &str,
    parts: &Parts,
) -> Result<Call, Status> {
    let query = Query::parse(&parts.uri)?;
    // As upstream: a list that is streamed as events has no columns.
    let streams_list = verb == "watch" && query.flag("sendInitialEvents") && query.flag("allowWatchBookmarks");
    let offered = |view: View| !(streams_list && matches!(view, View::Table(_)));
    Ok(Call {
        server: Arc::clone(server),
        user,
        kind,
        namespace: place.namespace.clone(),
        name: place.name.clone(),
        subresource: place.subresource.clone(),
        format: negotiate::answer(&parts.headers, &query, offered)?,
        query,
        headers: parts.headers.clone(),
        now: server.clock.now(),
        warnings: std::sync::Mutex::default(),
        home: std::sync::OnceLock::new(),
    })
}

async fn handle(call: &Call, verb: &'static str, place: &Place, parts: Parts, body: Body) -> Result<Response, Status> {
    if !place.subresource.is_empty() {
        return subresource::answer(call, verb, place, parts, body).await;
    }
    let needs_namespace = call.kind.namespaced && call.namespace.is_empty();
    if !call.kind.verbs.contains(&verb) || (needs_namespace && !matches!(verb, "list" | "watch" | "get")) {
        return Ok(reply::no_such_method());
    }
    if component_status::are_meant(call.kind) {
        return component_status::answer(call).await;
    }
    match (verb, place.name.is_empty()) {
        ("watch", _) => verb::watch::answer(call).await,
        ("list", true) => verb::list::answer(call).await,
        ("get", false) => verb::get::answer(call).await,
        ("create", true) => verb::create::answer(call, &body::read(body).await?).await,
        ("update", false) => verb::update::answer(call, &body::read(body).await?).await,
        ("patch", false) => verb::patch::answer(call, &body::read(body).await?).await,
        ("delete", false) => verb::delete::answer(call, &body::read(body).await?).await,
        ("deletecollection", true) => verb::delete_collection::answer(call, &body::read(body).await?).await,
        _ => Ok(reply::no_such_method()),
    }
}
