//! The kubelet's HTTP interface, at upstream's paths: what the API server asks it for.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Json, Router,
    body::Body,
    extract::{
        Path, Query as QueryString, State,
        ws::{WebSocketUpgrade, rejection::WebSocketUpgradeRejection},
    },
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, PodStatus};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    kubelet::Kubelet,
    logs::{self, Query, Stream},
    paths::container_log,
    pod, streaming, system_logs,
};

/// Routes of the kubelet:
/// - `/containerLogs/{namespace}/{pod}/{container}` with upstream's query: `follow`, `previous`, `tailLines`, `sinceSeconds`,
///   `sinceTime`, `timestamps`, `limitBytes`, `stream`;
/// - `/exec`, `/attach` and `/portForward`, over SPDY and WebSocket, and `/podProxy`;
/// - `/logs/`: what is below `/var/log`, listed and shown;
/// - `/pods`: a PodList of this machine;
/// - `/healthz`.
pub fn router(kubelet: Arc<Kubelet>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/pods", get(pods))
        .route("/containerLogs/{namespace}/{pod}/{container}", get(container_logs))
        .merge(streaming::routes())
        .with_state(kubelet)
        .merge(system_logs::routes(std::path::Path::new(system_logs::LOGS)))
}

async fn pods(State(kubelet): State<Arc<Kubelet>>) -> Json<Value> {
    Json(json!({ "kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": kubelet.pods() }))
}

fn failed(code: StatusCode, message: impl Into<String>) -> Response {
    (code, message.into()).into_response()
}

async fn container_logs(
    State(kubelet): State<Arc<Kubelet>>,
    Path((namespace, name, container)): Path<(String, String, String)>,
    QueryString(parameters): QueryString<HashMap<String, String>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let query = match parse(&parameters, Timestamp::now()) {
        Ok(query) => query,
        Err(message) => return failed(StatusCode::UNPROCESSABLE_ENTITY, message),
    };
    let found = {
        let handles = kubelet.handles();
        let handle = handles.values().find(|handle| {
            let pod = handle.pod.borrow();
            pod::name(&pod) == name && pod::namespace(&pod) == namespace
        });
        handle.map(|handle| (Arc::clone(&handle.pod.borrow()), handle.status.clone()))
    };
    let Some((object, status)) = found else {
        return failed(StatusCode::NOT_FOUND, format!("pod \"{name}\" not found"));
    };
    if pod::container(&object, &container).is_none() {
        return failed(StatusCode::NOT_FOUND, format!("container \"{container}\" not found in pod \"{name}\""));
    }
    let attempt = logs::choose(&status.borrow(), &name, &container, query.previous);
    let attempt = match attempt {
        Ok(attempt) => attempt,
        Err(message) => return failed(StatusCode::BAD_REQUEST, message),
    };
    let path = container_log(&kubelet.paths.pod_logs(&namespace, &name, pod::uid(&object)), &container, attempt);
    let ended = run_ended(status, container.clone(), attempt);
    match logs::stream(path, query, ended).await {
        Ok(stream) => match upgrade {
            Ok(upgrade) => streaming::log::answer(upgrade, stream, &kubelet.tasks, kubelet.stop.clone()),
            Err(_) => ([(header::CONTENT_TYPE, "text/plain")], Body::from_stream(stream)).into_response(),
        },
        Err(error) => {
            failed(StatusCode::INTERNAL_SERVER_ERROR, format!("failed to open the log of container \"{container}\": {error}"))
        }
    }
}

/// Ends when the container's run of that number is over, or its pod is gone.
async fn run_ended(mut status: watch::Receiver<Arc<PodStatus>>, container: String, attempt: u32) {
    let is_over = |status: &Arc<PodStatus>| {
        let mut statuses = pod::statuses(status);
        let runs = |status: &ContainerStatus| {
            status.state.as_ref().is_some_and(|state| state.running.is_some())
                && u32::try_from(status.restart_count) == Ok(attempt)
        };
        !statuses.find(|status| status.name == container).is_some_and(runs)
    };
    let _ = status.wait_for(is_over).await;
}

fn parse(parameters: &HashMap<String, String>, now: Timestamp) -> Result<Query, String> {
    let flag = |name: &str| parameters.get(name).is_some_and(|value| matches!(value.as_str(), "true" | "1" | ""));
    let number = |name: &str| match parameters.get(name) {
        Some(value) => {
            value.parse::<u64>().map(Some).map_err(|_| format!("invalid {name}: {value:?} must be a number of 0 or more"))
        }
        None => Ok(None),
    };
    let since_time = match parameters.get("sinceTime") {
        Some(value) => Some(value.parse::<Timestamp>().map_err(|error| format!("invalid sinceTime: {error}"))?),
        None => None,
    };
    let since_seconds =
        number("sinceSeconds")?.map(|seconds| now - SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(0)));
    let stream = match parameters.get("stream").map(String::as_str) {
        None | Some("" | "All") => Stream::All,
        Some("Stdout") => Stream::Stdout,
        Some("Stderr") => Stream::Stderr,
        Some(other) => return Err(format!("invalid stream: {other:?} must be All, Stdout or Stderr")),
    };
    Ok(Query {
        follow: flag("follow"),
        previous: flag("previous"),
        timestamps: flag("timestamps"),
        since: since_seconds.or(since_time),
        tail_lines: number("tailLines")?,
        limit_bytes: number("limitBytes")?,
        stream,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read_or_refused() {
        let parse = |pairs: &[(&str, &str)]| {
            let parameters = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            parse(&parameters, Timestamp::from_second(100).unwrap())
        };
        let query = parse(&[("follow", "true"), ("tailLines", "5"), ("sinceSeconds", "40")]).unwrap();
        assert!(query.follow && !query.previous && query.tail_lines == Some(5));
        assert_eq!(query.since, Timestamp::from_second(60).ok());
        assert!(parse(&[("tailLines", "-1")]).is_err());
        assert!(parse(&[("stream", "x")]).is_err());
    }
}
