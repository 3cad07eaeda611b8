//! Connections to one backend.

use std::{
    cell::{Cell, RefCell},
    io,
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};

use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    task::spawn_local,
    time::{Instant, timeout},
};

use super::{LocalExecutor, body::RequestBody};

/// A pod answers a SYN at once; one that does not is not there.
const CONNECT_PATIENCE: Duration = Duration::from_secs(1);
/// How long an idle connection is kept: well below the five seconds after which the most impatient servers close theirs,
/// because a request that crosses such a close may be lost.
const IDLE: Duration = Duration::from_secs(2);
/// Idle connections that are kept, of one backend.
const MAX_IDLE: usize = 256;

/// A pod's port, and the connections that are open to it.
pub(super) struct Backend {
    pub(super) address: SocketAddr,
    pub(super) revision: String,
    pub(super) http2: bool,
    in_flight: Rc<Cell<usize>>,
    idle: RefCell<Vec<(http1::SendRequest<RequestBody>, Instant)>>,
    /// The one connection that all requests share.
    shared: RefCell<Option<http2::SendRequest<RequestBody>>>,
    retired: Cell<bool>,
}

/// A connection that a request can be sent on.
pub(super) enum Connection {
    /// Not used before, or else it may be about to be closed.
    Http1 {
        sender: http1::SendRequest<RequestBody>,
        used: bool,
    },
    Http2(http2::SendRequest<RequestBody>),
}

/// Counts a request until its answer has been passed on.
pub(super) struct InFlight(Rc<Cell<usize>>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Backend {
    pub(super) fn new(address: SocketAddr, revision: String, http2: bool) -> Self {
        Self {
            address,
            revision,
            http2,
            in_flight: Rc::default(),
            idle: RefCell::default(),
            shared: RefCell::default(),
            retired: Cell::new(false),
        }
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.get()
    }

    pub(super) fn track(&self) -> InFlight {
        self.in_flight.set(self.in_flight.get() + 1);
        InFlight(self.in_flight.clone())
    }

    /// Ends what is idle, and what is not when it is.
    pub(super) fn retire(&self) {
        self.retired.set(true);
        self.idle.borrow_mut().clear();
        self.shared.borrow_mut().take();
    }

    /// A connection that was used a moment ago, or a new one.
    pub(super) async fn connect(&self) -> io::Result<Connection> {
        if self.http2 {
            return self.connect_http2().await.map(Connection::Http2);
        }
        if let Some(sender) = self.reuse() {
            return Ok(Connection::Http1 { sender, used: true });
        }
        let stream = self.open().await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        drop(spawn_local(connection.with_upgrades()));
        Ok(Connection::Http1 { sender, used: false })
    }

    fn reuse(&self) -> Option<http1::SendRequest<RequestBody>> {
        let mut idle = self.idle.borrow_mut();
        let oldest = Instant::now().checked_sub(IDLE);
        idle.retain(|(sender, since)| sender.is_ready() && oldest.is_none_or(|oldest| *since > oldest));
        // The last that was put back is the least likely to be closed.
        idle.pop().map(|(sender, _)| sender)
    }

    /// Keeps a connection for the next request, once the answer of this one has been read.
    pub(super) fn put_back(self: &Rc<Self>, mut sender: http1::SendRequest<RequestBody>) {
        let backend = self.clone();
        drop(spawn_local(async move {
            if sender.ready().await.is_err() || backend.retired.get() {
                return;
            }
            let now = Instant::now();
            if backend.idle.borrow().len() < MAX_IDLE {
                backend.idle.borrow_mut().push((sender, now));
            }
            tokio::time::sleep(IDLE).await;
            backend.idle.borrow_mut().retain(|(_, since)| *since > now);
        }));
    }

    async fn connect_http2(&self) -> io::Result<http2::SendRequest<RequestBody>> {
        let open = self.shared.borrow().as_ref().filter(|sender| !sender.is_closed()).cloned();
        if let Some(sender) = open {
            return Ok(sender);
        }
        let stream = self.open().await?;
        let handshake = http2::handshake(LocalExecutor, TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(io::Error::other)?;
        drop(spawn_local(connection));
        if !self.retired.get() {
            self.shared.borrow_mut().replace(sender.clone());
        }
        Ok(sender)
    }

    async fn open(&self) -> io::Result<TcpStream> {
        let stream = timeout(CONNECT_PATIENCE, TcpStream::connect(self.address)).await??;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

impl Connection {
    /// Whether the other end may have closed it already.
    pub(super) fn used(&self) -> bool {
        match self {
            Self::Http1 { used, .. } => *used,
            Self::Http2(_) => true,
        }
    }

    /// Sends a request; one of which nothing was sent comes back with the error.
    pub(super) async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<RequestBody>>> {
        match self {
            Self::Http1 { sender, .. } => sender.try_send_request(request).await,
            Self::Http2(sender) => sender.try_send_request(request).await,
        }
    }
}
