//! The one thread of the holder that stays in the host's network namespace, and opens ports there.

use std::{
    net::{SocketAddr, TcpListener, UdpSocket},
    sync::mpsc,
};

use nix::sys::socket::{Backlog, listen};
use tokio::sync::oneshot;

use super::Protocol;

/// Connections that may wait to be accepted. The kernel caps it at `net.core.somaxconn`;
/// past it a SYN is dropped and its sender waits a second, which a burst of new connections must not see.
const BACKLOG: i32 = 4096;

/// A socket that listens in the host's network namespace.
pub(super) enum HostSocket {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

struct Bind {
    protocol: Protocol,
    address: SocketAddr,
    answer: oneshot::Sender<std::io::Result<HostSocket>>,
}

/// Asks the host thread for sockets. The thread ends with the last of these.
pub(super) struct HostThread {
    requests: mpsc::Sender<Bind>,
}

impl HostThread {
    /// Starts the thread in the namespace of the caller, which may leave it afterwards.
    pub(super) fn start() -> std::io::Result<Self> {
        let (requests, received) = mpsc::channel::<Bind>();
        std::thread::Builder::new().name("host".to_owned()).stack_size(64 << 10).spawn(move || {
            for Bind { protocol, address, answer } in received {
                // A receiver that is gone does not want the socket: dropping it closes it.
                let _ = answer.send(bind(protocol, address));
            }
        })?;
        Ok(Self { requests })
    }

    pub(super) async fn bind(&self, protocol: Protocol, address: SocketAddr) -> std::io::Result<HostSocket> {
        let (answer, receiver) = oneshot::channel();
        self.requests.send(Bind { protocol, address, answer }).map_err(std::io::Error::other)?;
        receiver.await.map_err(std::io::Error::other)?
    }
}

fn bind(protocol: Protocol, address: SocketAddr) -> std::io::Result<HostSocket> {
    match protocol {
        Protocol::Tcp => {
            let listener = TcpListener::bind(address)?;
            listen(&listener, Backlog::new(BACKLOG)?)?;
            listener.set_nonblocking(true)?;
            Ok(HostSocket::Tcp(listener))
        }
        Protocol::Udp => {
            let socket = UdpSocket::bind(address)?;
            socket.set_nonblocking(true)?;
            Ok(HostSocket::Udp(socket))
        }
    }
}
