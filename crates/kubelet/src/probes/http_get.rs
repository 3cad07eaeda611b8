//! HTTP and gRPC probes over a connection from the machine's own network.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Body;
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::api::core::v1::HTTPGetAction;
use tokio::time::timeout;

use super::Outcome;
use crate::{network::PodNetwork, unverified::tls};

/// Redirects followed to the same host, as Go's client does.
const MAX_REDIRECTS: usize = 10;

/// Bytes of an answer that are read, as upstream.
const MAX_BODY_BYTES: usize = 10 * 1024;

/// Sends a GET and judges the answer: 200 to 399 is healthy; a redirect to the same host is followed, one elsewhere counts as healthy,
/// with a warning.
pub(super) async fn get(
    network: &dyn PodNetwork,
    address: SocketAddr,
    action: &HTTPGetAction,
    limit: Duration,
    agent: &str,
) -> Outcome {
    let https = action.scheme.as_deref().unwrap_or("HTTP").eq_ignore_ascii_case("https");
    let mut path = action.path.clone().filter(|path| !path.is_empty()).unwrap_or_else(|| "/".to_owned());
    if !path.starts_with('/') {
        path.insert(0, '/');
    }
    let scheme = if https { "https" } else { "http" };
    let url = format!("{scheme}://{address}{path}");
    let attempt = async {
        for _ in 0..=MAX_REDIRECTS {
            let request = request(&path, address, action, agent).map_err(|error| error.to_string())?;
            let stream =
                network.connect(address).await.map_err(|error| format!("dial tcp {address}: {}", connect_error(&error)))?;
            let answer = if https { send(tls(stream, address).await?, request).await? } else { send(stream, request).await? };
            match answer.location.as_deref().and_then(|location| same_host(location, address)) {
                Some(next) => path = next,
                None => return Ok(answer),
            }
        }
        Err("stopped after 10 redirects".to_owned())
    };
    match timeout(limit, attempt).await {
        Ok(Ok(Answer { status: 200..=299, .. })) => Outcome::Success,
        Ok(Ok(Answer { status: 300..=399, body, .. })) => {
            Outcome::Warning(format!("Probe terminated redirects, Response body: {body}"))
        }
        Ok(Ok(Answer { status, .. })) => Outcome::Failure(format!("HTTP probe failed with statuscode: {status}")),
        Ok(Err(why)) => Outcome::Failure(format!("Get \"{url}\": {why}")),
        Err(_) => {
            Outcome::Failure(format!("Get \"{url}\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)"))
        }
    }
}

/// A refused connection in Go's words, which people search for.
pub(crate) fn connect_error(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        std::io::ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
        std::io::ErrorKind::TimedOut => "i/o timeout".to_owned(),
        _ => error.to_string(),
    }
}

fn request(path: &str, address: SocketAddr, action: &HTTPGetAction, agent: &str) -> Result<Request<Empty<Bytes>>, http::Error> {
    let given = action.http_headers.as_deref().unwrap_or_default();
    let has = |name: &str| given.iter().any(|header| header.name.eq_ignore_ascii_case(name));
    let mut request = Request::get(path);
    if !has("host") {
        request = request.header(header::HOST, address.to_string());
    }
    if !has("user-agent") {
        request = request.header(header::USER_AGENT, agent);
    }
    if !has("accept") {
        request = request.header(header::ACCEPT, "*/*");
    }
    request = request.header(header::CONNECTION, "close");
    for header in given {
        request = request.header(header.name.as_str(), header.value.as_str());
    }
    request.body(Empty::new())
}

/// What of an answer is of interest.
struct Answer {
    status: u16,
    /// Where a redirect leads.
    location: Option<String>,
    /// The start of what a redirect says.
    body: String,
}

async fn send<S>(stream: S, request: Request<Empty<Bytes>>) -> Result<Answer, String>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status();
        if !status.is_redirection() {
            return Ok(Answer { status: status.as_u16(), location: None, body: String::new() });
        }
        let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok()).map(ToOwned::to_owned);
        Ok(Answer { status: status.as_u16(), location, body: start(response.into_body()).await })
    };
    drive(answer, connection).await
}

/// The start of a body, as far as it comes.
async fn start(mut body: impl Body<Data = Bytes> + Unpin) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < MAX_BODY_BYTES
        && let Some(Ok(frame)) = body.frame().await
    {
        bytes.extend(frame.into_data().unwrap_or_default());
    }
    bytes.truncate(MAX_BODY_BYTES);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Waits for the answer while the connection does its work. A connection that has ended may have brought the answer with its end,
/// and without one the answer is an error: so its own result says nothing.
async fn drive<T>(answer: impl Future<Output = T>, connection: impl Future) -> T {
    let connection = async {
        connection.await;
        std::future::pending().await
    };
    tokio::select! {
        answer = answer => answer,
        never = connection => never,
    }
}

/// The path of a redirect that stays on `address`.
fn same_host(location: &str, address: SocketAddr) -> Option<String> {
    let uri: Uri = location.parse().ok()?;
    let stays = uri.authority().is_none_or(|authority| {
        authority.host() == address.ip().to_string() && authority.port_u16().is_none_or(|port| port == address.port())
    });
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    (stays && path.starts_with('/')).then(|| path.to_owned())
}

/// Asks `grpc.health.v1.Health/Check` of `service`; SERVING is healthy.
pub(super) async fn grpc(network: &dyn PodNetwork, address: SocketAddr, service: &str, limit: Duration) -> Outcome {
    let attempt = async {
        let stream = network.connect(address).await.map_err(|error| format!("dial tcp {address}: {}", connect_error(&error)))?;
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
        let request = Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers")
            .header(header::USER_AGENT, "kube-probe/1.36")
            .body(Full::new(health_request(service)))
            .map_err(|error| error.to_string())?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
            let headers = response.headers().clone();
            let body = response.into_body().collect().await.map_err(|error| error.to_string())?;
            let trailers = body.trailers().cloned().unwrap_or(headers);
            let status = trailers.get("grpc-status").and_then(|value| value.to_str().ok()).unwrap_or("0").to_owned();
            Ok::<_, String>((status, body.to_bytes()))
        };
        drive(answer, connection).await
    };
    match timeout(limit, attempt).await {
        Ok(Ok((status, body))) if status == "0" && is_serving(&body) => Outcome::Success,
        Ok(Ok((status, _))) if status == "0" => Outcome::Failure("service unhealthy (responded with \"NOT_SERVING\")".to_owned()),
        Ok(Ok((status, _))) => Outcome::Failure(format!("error: health rpc probe failed with code {status}")),
        Ok(Err(why)) => Outcome::Failure(format!("error: failed to connect service \"{address}\": {why}")),
        Err(_) => Outcome::Failure(format!("timeout: failed to connect service \"{address}\" within {}s", limit.as_secs())),
    }
}

/// A gRPC frame with `HealthCheckRequest { service }`.
fn health_request(service: &str) -> Bytes {
    // Longer names than one length byte holds are no service names.
    let length = u8::try_from(service.len()).ok().filter(|length| *length < 0x80).unwrap_or(0);
    let mut message = Vec::new();
    if length > 0 {
        message.extend([0x0a, length]);
        message.extend(service.as_bytes());
    }
    let size = u32::try_from(message.len()).unwrap_or(0).to_be_bytes();
    [&[0][..], &size, &message].concat().into()
}

/// Whether a gRPC frame holds `HealthCheckResponse { status: SERVING }`.
fn is_serving(frame: &[u8]) -> bool {
    frame.get(5..) == Some(&[0x08, 0x01])
}
