//! What lies outside the API: health, version, metrics.

use std::sync::Arc;

use http::{Method, request::Parts};
use serde_json::json;
use windlass_api::status::Status;

use crate::{
    openid,
    query::Query,
    reply::{self, Response},
    server::Server,
};

/// The release whose behaviour this server has; clients parse it as a semantic version.
const GIT_VERSION: &str = "v1.36.2+windlass";

/// Whether everybody may read this path, credentials or not.
pub(crate) fn is_public(path: &str) -> bool {
    ["/healthz", "/livez", "/readyz", "/version"]
        .iter()
        .any(|open| path.strip_prefix(open).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// Answers a path that is not of the API.
pub(crate) async fn answer(server: &Arc<Server>, parts: &Parts) -> Result<Response, Status> {
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return Ok(reply::no_such_method());
    }
    let path = parts.uri.path().trim_end_matches('/');
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    match segments.as_slice() {
        [] => Ok(paths()),
        ["version"] => Ok(version()),
        ["metrics"] => Ok(metrics(server).await),
        [endpoint @ ("healthz" | "livez" | "readyz")] => health(server, endpoint, &Query::parse(&parts.uri)?).await,
        ["healthz" | "livez" | "readyz", check] => Ok(one_check(server, check).await),
        _ => Ok(reply::no_such_path()),
    }
}

fn paths() -> Response {
    let paths = [
        openid::CONFIGURATION,
        "/api",
        "/apis",
        "/healthz",
        "/livez",
        "/metrics",
        "/openapi/v2",
        "/openapi/v3",
        openid::KEYS,
        "/readyz",
        "/version",
    ];
    reply::json(200, format!("{:#}", json!({ "paths": paths })))
}

fn version() -> Response {
    let version = json!({
        "major": "1", "minor": "36", "emulationMajor": "1", "emulationMinor": "36",
        "minCompatibilityMajor": "1", "minCompatibilityMinor": "35",
        "gitVersion": GIT_VERSION, "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "", "compiler": "rustc", "platform": format!("{}/{}", std::env::consts::OS, platform()),
    });
    reply::json(200, format!("{version:#}"))
}

/// The machine as Go names it, which is how clients compare it.
fn platform() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Whether the store answers, which is all that this server depends on.
pub(crate) async fn store_is_healthy(server: &Server) -> bool {
    server.registry.store.revision().await.is_ok()
}

async fn health(server: &Arc<Server>, endpoint: &str, query: &Query) -> Result<Response, Status> {
    let stopping = endpoint == "readyz" && server.stopping.is_cancelled();
    let excluded: Vec<&str> = query.all("exclude").collect();
    let mut checks = vec![("ping", true), ("etcd", store_is_healthy(server).await)];
    if endpoint == "readyz" {
        checks.push(("shutdown", !stopping));
    }
    checks.retain(|(name, _)| !excluded.contains(name));
    let healthy = checks.iter().all(|(_, passed)| *passed);
    if healthy && !query.flag("verbose") {
        return Ok(reply::text(200, "ok"));
    }
    let mut text = String::new();
    for (name, passed) in &checks {
        text.push_str(&if *passed { format!("[+]{name} ok\n") } else { format!("[-]{name} failed: reason withheld\n") });
    }
    text.push_str(&format!("{endpoint} check {}\n", if healthy { "passed" } else { "failed" }));
    Ok(reply::text(if healthy { 200 } else { 500 }, text))
}

async fn one_check(server: &Arc<Server>, check: &str) -> Response {
    let passed = match check {
        "ping" => true,
        "etcd" => store_is_healthy(server).await,
        "shutdown" => !server.stopping.is_cancelled(),
        _ => return reply::no_such_path(),
    };
    if passed { reply::text(200, "ok") } else { reply::text(500, "internal server error: reason withheld\n") }
}

async fn metrics(server: &Arc<Server>) -> Response {
    let revision = server.registry.store.revision().await.unwrap_or(0);
    let text = server.metrics.encode(revision, &server.routes.figures().await);
    reply::with_type(200, "application/openmetrics-text; version=1.0.0; charset=utf-8", text.into())
}
