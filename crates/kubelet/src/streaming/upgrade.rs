//! Agrees with a client on how to go on: SPDY or WebSocket, and which protocol over it.

use std::pin::Pin;

use axum::{
    body::Body,
    extract::{
        FromRequestParts as _, Request,
        ws::{WebSocket, WebSocketUpgrade},
    },
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use hyper::upgrade::OnUpgrade;
use tokio::sync::oneshot;

/// Messages may be that long; clients send some 32 KiB at a time.
const MESSAGE_BYTES: usize = 1 << 20;

const PROTOCOLS: &str = "x-stream-protocol-version";

/// The protocols of one kind of session, the best first.
pub(super) struct Protocols {
    pub(super) spdy: &'static [&'static str],
    pub(super) websocket: &'static [&'static str],
}

/// Those of `exec` and `attach`.
pub(super) const TALK: &Protocols = &Protocols {
    spdy: &["v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"],
    websocket: &["v5.channel.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io", "channel.k8s.io", "base64.channel.k8s.io"],
};

/// What a client was granted, and the answer that says so.
pub(super) struct Asked {
    pub(super) upgrade: Upgrade,
    pub(super) response: Response,
}

pub(super) enum Upgrade {
    Spdy { on_upgrade: OnUpgrade, protocol: String },
    WebSocket { socket: Pin<Box<dyn Future<Output = Result<WebSocket, oneshot::error::RecvError>> + Send>>, protocol: String },
}

/// Reads what the client wants. When there is nobody to talk to, only those go on that can be told so afterwards: the ones
/// that speak `v5.channel.k8s.io`, whose errors upstream tells over the connection.
///
/// # Errors
/// The refusal.
pub(super) async fn read(request: Request, protocols: &Protocols, found: bool) -> Result<Asked, Box<Response>> {
    let headers = request.headers();
    let upgrade = headers.get(header::UPGRADE).and_then(|value| value.to_str().ok()).unwrap_or_default().to_lowercase();
    match upgrade.as_str() {
        "websocket" => websocket(request, protocols, found).await,
        "spdy/3.1" if found => spdy(request, protocols),
        "spdy/3.1" => refuse(StatusCode::INTERNAL_SERVER_ERROR, "nobody to talk to"),
        _ => refuse(StatusCode::BAD_REQUEST, "unable to upgrade: missing upgrade headers in request"),
    }
}

fn refuse<T>(code: StatusCode, why: impl Into<String>) -> Result<T, Box<Response>> {
    Err(Box::new((code, why.into()).into_response()))
}

fn list<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|value| !value.is_empty()).collect()
}

fn spdy(mut request: Request, protocols: &Protocols) -> Result<Asked, Box<Response>> {
    let asked = list(request.headers(), PROTOCOLS);
    let chosen = asked.iter().find_map(|asked| protocols.spdy.iter().find(|own| *own == asked));
    let protocol = match (chosen, asked.is_empty()) {
        (Some(protocol), _) => *protocol,
        // Clients of before the versions ask for none.
        (None, true) => "",
        (None, false) => {
            let why = format!(
                "unable to upgrade: unable to negotiate protocol: client supports {asked:?}, server accepts {:?}",
                protocols.spdy
            );
            let mut response = (StatusCode::FORBIDDEN, why).into_response();
            for own in protocols.spdy {
                response.headers_mut().append("x-accept-stream-protocol-versions", HeaderValue::from_static(own));
            }
            return Err(Box::new(response));
        }
    };
    let Some(on_upgrade) = request.extensions_mut().remove::<OnUpgrade>() else {
        return refuse(StatusCode::BAD_REQUEST, "unable to upgrade: this connection cannot be upgraded");
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("SPDY/3.1"));
    if !protocol.is_empty() {
        headers.insert(PROTOCOLS, HeaderValue::from_static(protocol));
    }
    Ok(Asked { upgrade: Upgrade::Spdy { on_upgrade, protocol: protocol.to_owned() }, response })
}

async fn websocket(request: Request, protocols: &Protocols, found: bool) -> Result<Asked, Box<Response>> {
    let (mut parts, _) = request.into_parts();
    let asked = list(&parts.headers, "sec-websocket-protocol");
    let known = asked.iter().any(|asked| protocols.websocket.contains(asked));
    if !asked.is_empty() && !known {
        return refuse(StatusCode::FORBIDDEN, format!("unable to upgrade: none of the protocols {asked:?} is known"));
    }
    if !found && !asked.contains(&"v5.channel.k8s.io") {
        return refuse(StatusCode::INTERNAL_SERVER_ERROR, "nobody to talk to");
    }
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &()).await;
    let upgrade = upgrade.map_err(|rejection| Box::new(rejection.into_response()))?;
    let upgrade = upgrade.protocols(protocols.websocket.iter().copied()).max_message_size(MESSAGE_BYTES);
    let chosen = upgrade.selected_protocol().and_then(|value| value.to_str().ok()).unwrap_or_default();
    let protocol = chosen.to_owned();
    let (sender, receiver) = oneshot::channel();
    let response = upgrade.on_upgrade(|socket| async move {
        // The task that waits for it is gone only when the kubelet is.
        let _ = sender.send(socket);
    });
    Ok(Asked { upgrade: Upgrade::WebSocket { socket: Box::pin(receiver), protocol }, response })
}
