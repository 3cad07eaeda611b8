//! The one thread of the holder that stays in the host's network namespace, and makes sockets there.

use std::{
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
    sync::mpsc,
};

use nix::sys::socket::{Backlog, listen};
use tokio::{net::TcpSocket, sync::oneshot};

use super::Protocol;

/// Connections that may wait to be accepted. The kernel caps it at `net.core.somaxconn`;
/// past it a SYN is dropped and its sender waits a second, which a burst of new connections must not see.
const BACKLOG: i32 = 4096;

/// A socket that listens in the host's network namespace.
pub(crate) enum HostSocket {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

enum Request {
    Bind { protocol: Protocol, address: SocketAddr, answer: oneshot::Sender<io::Result<HostSocket>> },
    Outbound { to: SocketAddr, answer: oneshot::Sender<io::Result<TcpSocket>> },
}

/// Asks the host thread for sockets. The thread ends with the last of these.
#[derive(Clone)]
pub(crate) struct HostThread {
    requests: mpsc::Sender<Request>,
}

impl HostThread {
    /// Starts the thread in the namespace of the caller, which may leave it afterwards.
    pub(super) fn start() -> io::Result<Self> {
        let (requests, received) = mpsc::channel();
        std::thread::Builder::new().name("host".to_owned()).stack_size(64 << 10).spawn(move || {
            for request in received {
                // A receiver that is gone does not want the socket: dropping it closes it.
                match request {
                    Request::Bind { protocol, address, answer } => drop(answer.send(bind(protocol, address))),
                    Request::Outbound { to, answer } => {
                        drop(answer.send(if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }));
                    }
                }
            }
        })?;
        Ok(Self { requests })
    }

    pub(crate) async fn bind(&self, protocol: Protocol, address: SocketAddr) -> io::Result<HostSocket> {
        let (answer, receiver) = oneshot::channel();
        self.requests.send(Request::Bind { protocol, address, answer }).map_err(io::Error::other)?;
        receiver.await.map_err(io::Error::other)?
    }

    /// A socket that connects from the host, to an address such as this.
    pub(crate) async fn outbound(&self, to: SocketAddr) -> io::Result<TcpSocket> {
        let (answer, receiver) = oneshot::channel();
        self.requests.send(Request::Outbound { to, answer }).map_err(io::Error::other)?;
        receiver.await.map_err(io::Error::other)?
    }
}

fn bind(protocol: Protocol, address: SocketAddr) -> io::Result<HostSocket> {
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
