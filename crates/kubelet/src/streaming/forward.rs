//! Port forwarding: connections to ports of a pod, from inside its network namespace.

mod pairs;
mod pipe;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use axum::{
    extract::{Path, Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::{StreamExt as _, stream::FuturesUnordered};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::mpsc,
};

use super::{
    LIMITS, STREAMS,
    channels::{Incoming, Outgoing},
    target::{Place, Target},
    tunnel,
    upgrade::{self, Asked, Protocols, Upgrade},
    websocket::{self, Format, Inlet},
};
use crate::kubelet::Kubelet;

const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";

const FORWARD: &Protocols =
    &Protocols { spdy: &["portforward.k8s.io"], websocket: &[TUNNEL, "v4.channel.k8s.io", "v4.base64.channel.k8s.io"] };

/// What connects to a pod's ports.
pub(super) struct Forwarder {
    kubelet: Arc<Kubelet>,
    place: Place,
}

/// Agrees on a protocol, and leaves the rest to a task.
pub(super) async fn answer(
    State(kubelet): State<Arc<Kubelet>>,
    Path((namespace, pod)): Path<(String, String)>,
    request: Request,
) -> Response {
    let place = match Target::find(&kubelet, &namespace, &pod) {
        Ok(target) => target.place(&kubelet).await,
        Err(error) => Err(error),
    };
    let place = match place {
        Ok(place) => place,
        Err(error) => return (error.code(), error.to_string()).into_response(),
    };
    let ports = ports(request.uri().query().unwrap_or_default());
    let Asked { upgrade, response } = match upgrade::read(request, FORWARD, true).await {
        Ok(asked) => asked,
        Err(response) => return *response,
    };
    let by_channels = matches!(&upgrade, Upgrade::WebSocket { protocol, .. } if protocol != TUNNEL);
    let ports = match ports {
        Err(why) if by_channels => return (StatusCode::BAD_REQUEST, why).into_response(),
        ports => ports.unwrap_or_default(),
    };
    let stop = kubelet.stop.clone();
    let forwarder = Forwarder { kubelet: Arc::clone(&kubelet), place };
    kubelet.tasks.spawn(async move {
        tokio::select! {
            () = serve(upgrade, &forwarder, &ports) => {}
            () = stop.cancelled() => {}
        }
    });
    response
}

async fn serve(upgrade: Upgrade, forwarder: &Forwarder, ports: &[u16]) {
    match upgrade {
        Upgrade::Spdy { on_upgrade, .. } => match on_upgrade.await {
            Ok(upgraded) => streams(TokioIo::new(upgraded), forwarder).await,
            Err(error) => tracing::debug!(%error, "the client did not upgrade"),
        },
        Upgrade::WebSocket { socket, protocol } => {
            let Ok(socket) = socket.await else { return };
            if protocol == TUNNEL {
                let (bytes, carrier) = tunnel::open(socket);
                tokio::join!(streams(bytes, forwarder), carrier);
            } else {
                let (messages, queue) = mpsc::channel(16);
                let (mut inlets, mut incoming) = (Vec::new(), Vec::new());
                for index in 0..ports.len() {
                    let (inlet, receiver) = Inlet::new(channel(index));
                    inlets.push(inlet);
                    incoming.push(Incoming::WebSocket(receiver));
                }
                let session = channels(forwarder, ports, incoming, messages);
                websocket::carry(socket, Format::of(&protocol), inlets, queue, session).await;
            }
        }
    }
}

/// The ports that a client without SPDY names beforehand.
fn ports(query: &str) -> Result<Vec<u16>, String> {
    let values: Vec<&str> =
        query.split('&').filter_map(|pair| pair.strip_prefix("ports=").or(pair.strip_prefix("port="))).collect();
    if values.is_empty() {
        return Err("query parameter \"port\" is required".to_owned());
    }
    let all = values.iter().flat_map(|value| value.split(',').flat_map(|part| part.split("%2C")));
    let ports = all.map(|text| match text.parse::<u16>() {
        Ok(0) => Err(format!("port {text:?} must be > 0")),
        Ok(port) => Ok(port),
        Err(_) => Err(format!("unable to parse {text:?} as a port")),
    });
    let ports: Vec<u16> = ports.collect::<Result<_, _>>()?;
    // Each has two channels, and a channel's number is a byte.
    if ports.len() > 100 { Err("more than 100 ports".to_owned()) } else { Ok(ports) }
}

/// The channel of a port's data; its errors have the next.
fn channel(index: usize) -> u8 {
    u8::try_from(index * 2).unwrap_or(u8::MAX)
}

/// Forwards over SPDY: two streams a connection, that come in any order.
async fn streams(socket: impl AsyncRead + AsyncWrite + Send + 'static, forwarder: &Forwarder) {
    let (mut connection, driver) = windlass_spdy::accept(socket, LIMITS);
    let mut driver = std::pin::pin!(driver);
    let mut pairs = pairs::Pairs::default();
    let mut forwarded = FuturesUnordered::new();
    loop {
        tokio::select! {
            ended = &mut driver => return tracing::debug!(?ended, "port forwarding ended"),
            Some(()) = forwarded.next(), if !forwarded.is_empty() => {}
            stream = connection.accept() => {
                let Some(stream) = stream else { return };
                if let Some(pair) = pairs.add(stream, STREAMS) {
                    forwarded.push(async move {
                        let pairs::Pair { port, data, mut error } = pair;
                        let reset = data.writer.watch_reset();
                        let (incoming, mut outgoing) = (Incoming::Spdy(data.reader), Outgoing::Spdy(data.writer));
                        if let Err(why) = forwarder.forward(port, incoming, &mut outgoing, || reset.is_reset()).await {
                            // The client may be gone already.
                            let _ = error.writer.write(why.into()).await;
                        }
                        outgoing.close().await;
                        let _ = error.writer.close().await;
                    });
                }
            }
        }
    }
}

/// Forwards over the channels of a WebSocket: one connection a port.
async fn channels(forwarder: &Forwarder, ports: &[u16], incoming: Vec<Incoming>, messages: mpsc::Sender<(u8, Bytes)>) {
    let connections = ports.iter().zip(incoming).enumerate().map(|(index, (port, incoming))| {
        let outgoing = |channel| Outgoing::WebSocket { channel, messages: messages.clone() };
        let (mut data, error) = (outgoing(channel(index)), outgoing(channel(index) + 1));
        async move {
            // As upstream: each channel says first which port it is of.
            for channel in [&data, &error] {
                channel.write(Bytes::copy_from_slice(&port.to_le_bytes())).await;
            }
            if let Err(why) = forwarder.forward(*port, incoming, &mut data, || false).await {
                error.write(why.into()).await;
            }
        }
    });
    let connections: Vec<_> = connections.collect();
    drop(messages);
    futures::future::join_all(connections).await;
}

impl Forwarder {
    /// Carries one connection to a port.
    ///
    /// # Errors
    /// What the client is told.
    async fn forward(
        &self,
        port: u16,
        incoming: Incoming,
        outgoing: &mut Outgoing,
        is_reset: impl Fn() -> bool,
    ) -> Result<(), String> {
        let told = |why: String| format!("error forwarding port {port} to pod {}, uid : {why}", self.place.sandbox);
        let socket = self.connect(port).await.map_err(told)?;
        pipe::carry(socket, incoming, outgoing, is_reset).await.map_err(|error| told(error.to_string()))
    }

    /// Connects to `localhost` as the pod knows it.
    async fn connect(&self, port: u16) -> Result<TcpStream, String> {
        let mut refusals = Vec::new();
        for (name, address) in [("4", IpAddr::from(Ipv4Addr::LOCALHOST)), ("6", Ipv6Addr::LOCALHOST.into())] {
            let address = SocketAddr::new(address, port);
            match self.connect_to(address).await {
                Ok(socket) => return Ok(socket),
                Err(error) => refusals.push(format!("IPv{name}: dial tcp{name} {address}: {}", cause(&error))),
            }
        }
        Err(format!("failed to connect to localhost:{port} inside the pod's network namespace, {}", refusals.join(" ")))
    }

    async fn connect_to(&self, address: SocketAddr) -> io::Result<TcpStream> {
        match &self.place.netns {
            Some(netns) => self.kubelet.network.connect_within(netns, address).await,
            None => self.kubelet.network.connect(address).await,
        }
    }
}

/// An error of the kernel in Go's words, which are its own without the number.
fn cause(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_listed_in_two_ways() {
        assert_eq!(ports("ports=80&ports=443"), Ok(vec![80, 443]));
        assert_eq!(ports("port=80,443"), Ok(vec![80, 443]));
        assert_eq!(ports("port=80%2C443"), Ok(vec![80, 443]));
        assert!(ports("").unwrap_err().contains("required"));
        assert!(ports("port=0").unwrap_err().contains("must be > 0"));
        assert!(ports("port=x").unwrap_err().contains("unable to parse"));
    }
}
