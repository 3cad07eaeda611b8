//! What only the pod's node can answer: logs, exec, attach, port forwarding. The request is handed to the kubelet as it is,
//! upgrades included.

use axum::{Router, body::Body, extract::Request};
use http::{Uri, request::Parts, uri::PathAndQuery};
use serde_json::Value;
use tower::ServiceExt;
use windlass_api::{kind::Subresource, status::Status};

use crate::{call::Call, query::bad_request, registry::record, reply::Response};

/// Hands the request to the kubelet of the pod's node.
pub(super) async fn answer(call: &Call, subresource: Subresource, parts: Parts, body: Body) -> Result<Response, Status> {
    let entry = call.server.registry.get(call.kind, &call.namespace, &call.name).await?;
    let pod = record::decode(&entry)?;
    let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
    let (place, container) = match subresource {
        Subresource::Log => ("containerLogs", Some(container(call, &pod, "container")?)),
        Subresource::Exec => ("exec", Some(container(call, &pod, "container")?)),
        Subresource::Attach => ("attach", Some(container(call, &pod, "container")?)),
        _ => ("portForward", None),
    };
    if node.is_empty() {
        // As upstream: a pod that is nowhere has said nothing yet.
        if subresource == Subresource::Log {
            return Ok(crate::reply::text(200, ""));
        }
        return Err(bad_request(format!("pod {} does not have a host assigned", call.name)));
    }
    let router = router(call, node)?;
    let mut path = format!("/{place}/{}/{}", call.namespace, call.name);
    if let Some(container) = container {
        path.push('/');
        path.push_str(&container);
    }
    path.push('?');
    path.push_str(parts.uri.query().unwrap_or_default());
    // The kubelet's names for the streams are others than the API's.
    for (ours, theirs) in [("stdin", "input"), ("stdout", "output"), ("stderr", "error")] {
        if subresource != Subresource::Log && call.query.flag(ours) {
            path.push_str(&format!("&{theirs}=1"));
        }
    }
    let mut request = Request::from_parts(parts, body);
    let path: PathAndQuery = path.parse().map_err(|error: http::uri::InvalidUri| bad_request(error.to_string()))?;
    *request.uri_mut() = Uri::from(path);
    let response = match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    // As upstream: what a kubelet says to who wants to upgrade is passed on as it is.
    let is_refused = response.status().is_client_error() || response.status().is_server_error();
    if is_refused && subresource == Subresource::Log {
        return Err(refusal(response).await);
    }
    Ok(response)
}

/// The kubelet of that node.
pub(super) fn router(call: &Call, node: &str) -> Result<Router, Status> {
    call.server.nodes.router(node).ok_or_else(|| {
        let message = format!("Internal error occurred: no kubelet answers for node {node:?}");
        Status::request(500, "InternalError", message)
    })
}

/// Bytes of a kubelet's refusal that are passed on, as upstream.
const MAX_REFUSAL_BYTES: usize = 50_000;

/// What a kubelet refuses in plain words, as a Status that clients can print.
async fn refusal(response: Response) -> Status {
    let code = response.status().as_u16();
    let body = axum::body::to_bytes(response.into_body(), MAX_REFUSAL_BYTES).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&body);
    match code {
        400 => bad_request(text),
        404 => Status::request(404, "NotFound", text),
        500 => Status::request(500, "InternalError", format!("Internal error occurred: {text}")),
        code => Status::request(code, "", text),
    }
}

/// The container that is meant: the one named, or the only one.
///
/// # Errors
/// 400 when there is no such container, or several to choose from.
fn container(call: &Call, pod: &Value, parameter: &str) -> Result<String, Status> {
    let names = |list: &str| -> Vec<String> {
        let containers = pod["spec"][list].as_array().into_iter().flatten();
        containers.filter_map(|container| container["name"].as_str()).map(str::to_owned).collect()
    };
    let (regular, init, ephemeral) = (names("containers"), names("initContainers"), names("ephemeralContainers"));
    if let Some(name) = call.query.get(parameter) {
        if [&regular, &init, &ephemeral].into_iter().flatten().any(|own| own == name) {
            return Ok(name.to_owned());
        }
        return Err(bad_request(format!("container {name} is not valid for pod {}", call.name)));
    }
    match regular.as_slice() {
        [only] => Ok(only.clone()),
        _ => {
            let all = [init, regular, ephemeral].concat().join(" ");
            Err(bad_request(format!("a container name must be specified for pod {}, choose one of: [{all}]", call.name)))
        }
    }
}
