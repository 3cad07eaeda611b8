//! Talking to containers: `exec`, `attach` and `portForward`, over SPDY and WebSocket, and `podProxy`.
//!
//! A kubectl of before 1.31 speaks SPDY/3.1 only; a newer one tries WebSocket first.

mod channels;
mod forward;
mod hand_on;
mod idle;
pub(crate) mod log;
mod outcome;
mod relay;
mod spdy;
mod target;
mod tunnel;
mod upgrade;
mod websocket;

use std::{collections::HashMap, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Path, Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{any, get},
};

use self::{
    relay::Talk,
    target::Target,
    upgrade::{Asked, Upgrade},
};
use crate::{kubelet::Kubelet, session::Streams};

/// A connection on which nothing comes or goes for that long is closed, as upstream.
const IDLE: Duration = Duration::from_secs(4 * 60 * 60);

/// How long a client may take to open its streams, as upstream.
const OPEN_TIME: Duration = Duration::from_secs(30);

/// Streams of one connection: a forwarded connection has two. Upstream has no bound.
const STREAMS: usize = 512;

/// Bounds of a SPDY connection.
const LIMITS: windlass_spdy::Limits = windlass_spdy::Limits { streams: STREAMS, idle: IDLE };

/// Routes at upstream's paths: `/exec/{namespace}/{pod}/{container}` and `/attach/…` with `input`, `output`, `error`, `tty` and
/// `command`, and `/portForward/{namespace}/{pod}`; and at one of our own `/podProxy/{namespace}/{pod}/{scheme}:{port}/{path}`.
pub(crate) fn routes() -> Router<Arc<Kubelet>> {
    Router::new()
        .route("/exec/{namespace}/{pod}/{container}", get(exec).post(exec))
        .route("/attach/{namespace}/{pod}/{container}", get(attach).post(attach))
        .route("/portForward/{namespace}/{pod}", get(forward::answer).post(forward::answer))
        .route("/podProxy/{*destination}", any(hand_on::answer))
}

type Names = Path<(String, String, String)>;

async fn exec(kubelet: State<Arc<Kubelet>>, names: Names, request: Request) -> Response {
    let (streams, commands) = match parse(&request) {
        Ok(parsed) => parsed,
        Err(refused) => return *refused,
    };
    talk(kubelet, names, request, streams, Some(commands)).await
}

async fn attach(kubelet: State<Arc<Kubelet>>, names: Names, request: Request) -> Response {
    match parse(&request) {
        Ok((streams, _)) => talk(kubelet, names, request, streams, None).await,
        Err(refused) => *refused,
    }
}

/// What the query asks for.
fn parse(request: &Request) -> Result<(Streams, Vec<String>), Box<Response>> {
    let pairs: Vec<(String, String)> = pairs(request.uri().query().unwrap_or_default());
    let commands = pairs.iter().filter(|(key, _)| key == "command").map(|(_, value)| value.clone()).collect();
    let flags: HashMap<&str, bool> = pairs.iter().map(|(key, value)| (key.as_str(), value == "1" || value == "true")).collect();
    let flag = |name| flags.get(name).copied().unwrap_or(false);
    let tty = flag("tty");
    // A terminal has one output.
    let streams = Streams { stdin: flag("input"), stdout: flag("output"), stderr: flag("error") && !tty, tty };
    if !(streams.stdin || streams.stdout || streams.stderr) {
        return Err(Box::new((StatusCode::BAD_REQUEST, "you must specify at least 1 of stdin, stdout, stderr").into_response()));
    }
    Ok((streams, commands))
}

fn pairs(query: &str) -> Vec<(String, String)> {
    axum::extract::Query::<Vec<(String, String)>>::try_from_uri(
        &format!("/?{query}").parse().unwrap_or_else(|_| axum::http::Uri::from_static("/")),
    )
    .map(|query| query.0)
    .unwrap_or_default()
}

/// Finds the container, agrees on a protocol, and leaves the rest to a task.
async fn talk(
    State(kubelet): State<Arc<Kubelet>>,
    Path((namespace, pod, container)): Names,
    request: Request,
    streams: Streams,
    command: Option<Vec<String>>,
) -> Response {
    let found = Target::find(&kubelet, &namespace, &pod).and_then(|target| target.container(&container));
    let refused = found.as_ref().err().map(|error| (error.code(), error.to_string()));
    let asked = match upgrade::read(request, upgrade::TALK, found.is_ok()).await {
        Ok(asked) => asked,
        // What the client cannot be told over an upgraded connection, it is told in plain words.
        Err(response) => return refused.map_or(*response, IntoResponse::into_response),
    };
    let Asked { upgrade, response } = asked;
    let talk =
        Talk { runtime: Arc::clone(&kubelet.runtime), container: found.map_err(|error| error.to_string()), streams, command };
    let stop = kubelet.stop.clone();
    kubelet.tasks.spawn(async move {
        let serving = async {
            match upgrade {
                Upgrade::Spdy { on_upgrade, protocol } => match on_upgrade.await {
                    Ok(upgraded) => spdy::serve(upgraded, &protocol, talk).await,
                    Err(error) => tracing::debug!(%error, "the client did not upgrade"),
                },
                Upgrade::WebSocket { socket, protocol } => {
                    if let Ok(socket) = socket.await {
                        websocket::serve(socket, &protocol, talk).await;
                    }
                }
            }
        };
        tokio::select! {
            () = serving => {}
            () = stop.cancelled() => {}
        }
    });
    response
}
