//! A request handed on to a port of a pod: what the API server's `pods/proxy` and `services/proxy` lead to.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    Json,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, Uri, Version, header, uri::PathAndQuery},
    response::{IntoResponse, Response},
};
use hyper::{client::conn::http1, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, copy_bidirectional},
    time::timeout,
};
use windlass_api::status::Status;

use super::target::Target;
use crate::{kubelet::Kubelet, probes::connect_error, unverified::tls};

/// How long a connection may take to come about, as upstream.
const CONNECT_TIME: Duration = Duration::from_secs(30);

/// What is between this hop and the next alone. An upgrade is agreed upon from end to end.
const HOP_BY_HOP: [header::HeaderName; 5] =
    [header::CONNECTION, header::PROXY_AUTHORIZATION, header::TE, header::TRANSFER_ENCODING, header::UPGRADE];

/// Where a request goes, as its path says: `/podProxy/{namespace}/{pod}/{scheme}:{port}/{path}`.
struct Destination {
    target: Target,
    is_tls: bool,
    address: SocketAddr,
    uri: Uri,
}

/// Answers what the pod answers, upgrades included; where it does not, a Status that says why.
pub(super) async fn answer(State(kubelet): State<Arc<Kubelet>>, request: Request) -> Response {
    match hand_on(&kubelet, request).await {
        Ok(response) => response,
        Err(status) => {
            let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
            (code, Json(status.to_value())).into_response()
        }
    }
}

async fn hand_on(kubelet: &Arc<Kubelet>, request: Request) -> Result<Response, Status> {
    let Destination { target, is_tls, address, uri } = destination(kubelet, request.uri())?;
    tracing::debug!(pod = target.uid, %address, %uri, "a request is handed on");
    let connect = timeout(CONNECT_TIME, kubelet.network.connect(address));
    let stream = match connect.await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(unreachable(format!("dial tcp {address}: {}", connect_error(&error)))),
        Err(_) => return Err(unreachable(format!("dial tcp {address}: i/o timeout"))),
    };
    if is_tls {
        let stream = timeout(CONNECT_TIME, tls(stream, address)).await;
        let stream = stream.unwrap_or_else(|_| Err("net/http: TLS handshake timeout".to_owned())).map_err(unreachable)?;
        exchange(kubelet, stream, uri, request).await
    } else {
        exchange(kubelet, stream, uri, request).await
    }
}

fn destination(kubelet: &Kubelet, uri: &Uri) -> Result<Destination, Status> {
    let malformed = || Status::request(400, "BadRequest", format!("{uri} names no port of a pod"));
    let mut segments = uri.path().splitn(6, '/').skip(2);
    let mut segment = || segments.next().ok_or_else(malformed);
    let (namespace, name, way, path) = (segment()?, segment()?, segment()?, segment()?);
    let (scheme, port) = way.split_once(':').ok_or_else(malformed)?;
    let port: u16 = port.parse().map_err(|_| malformed())?;
    let query = uri.query().map_or_else(String::new, |query| format!("?{query}"));
    let rest: PathAndQuery = format!("/{path}{query}").parse().map_err(|_| malformed())?;
    let target = Target::find(kubelet, namespace, name)
        .map_err(|error| Status::request(404, "NotFound", format!("pod \"{name}\": {error}")))?;
    let ip = target.status.pod_ip.as_deref().and_then(|ip| ip.parse::<IpAddr>().ok());
    let ip = ip.ok_or_else(|| Status::request(400, "BadRequest", "address not allowed"))?;
    Ok(Destination { target, is_tls: scheme == "https", address: SocketAddr::new(ip, port), uri: rest.into() })
}

/// In upstream's words.
fn unreachable(why: impl std::fmt::Display) -> Status {
    Status::request(503, "ServiceUnavailable", format!("error trying to reach service: {why}"))
}

async fn exchange<S>(kubelet: &Arc<Kubelet>, stream: S, uri: Uri, mut request: Request) -> Result<Response, Status>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake::<_, Body>(TokioIo::new(stream)).await.map_err(unreachable)?;
    let stop = kubelet.stop.clone();
    kubelet.tasks.spawn(async move {
        tokio::select! {
            // Its end is told to whoever waits for the answer.
            _ = connection.with_upgrades() => {}
            () = stop.cancelled() => {}
        }
    });
    let client = request.headers().contains_key(header::UPGRADE).then(|| hyper::upgrade::on(&mut request));
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_11;
    without_hops(request.headers_mut());
    let mut response = sender.send_request(request).await.map_err(unreachable)?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let server = hyper::upgrade::on(&mut response);
        let stop = kubelet.stop.clone();
        kubelet.tasks.spawn(async move {
            tokio::select! {
                () = carry(client, server) => {}
                () = stop.cancelled() => {}
            }
        });
    }
    without_hops(response.headers_mut());
    Ok(response.map(Body::new))
}

/// Carries bytes both ways once both ends have changed their protocol.
async fn carry(client: Option<OnUpgrade>, server: OnUpgrade) {
    let Some(client) = client else { return };
    if let (Ok(client), Ok(server)) = tokio::join!(client, server) {
        // An end that goes away ends both.
        let _ = copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(server)).await;
    }
}

fn without_hops(headers: &mut HeaderMap) {
    let upgrade = headers.get(header::UPGRADE).cloned();
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    for name in ["keep-alive", "proxy-connection"] {
        headers.remove(name);
    }
    if let Some(upgrade) = upgrade {
        headers.insert(header::UPGRADE, upgrade);
        headers.insert(header::CONNECTION, header::HeaderValue::from_static("Upgrade"));
    }
}
