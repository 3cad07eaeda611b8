//! Datagrams of published ports, and of pods to the outside: one socket for each client, for as long as either side talks.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4},
    rc::Rc,
    time::Duration,
};

use tokio::{
    net::UdpSocket,
    task::spawn_local,
    time::{Instant, timeout},
};

use super::{
    Protocol,
    host::{HostSocket, HostThread},
    relay::{Shared, Target},
};
use crate::netfilter::{NetfilterSocket, find_destination};

/// A client that is silent for this long is forgotten; twice what conntrack gives an unanswered UDP flow.
const IDLE: Duration = Duration::from_secs(60);
/// A pod that is silent for this long; a little less than what conntrack gives it, which tells where it sends: the same port of the
/// pod may be that of another flow afterwards.
const IDLE_OUTWARD: Duration = Duration::from_secs(25);
/// Clients of one port at a time, each a descriptor; a datagram of one more is dropped, as by a full queue.
const MAX_SESSIONS: usize = 4096;
/// The largest datagram there is.
const DATAGRAM_BYTES: usize = 65_535;

#[derive(Clone)]
struct Session {
    socket: Rc<UdpSocket>,
    target: SocketAddr,
    last_used: Rc<Cell<Instant>>,
}

type Sessions = Rc<RefCell<HashMap<SocketAddr, Session>>>;

/// Where datagrams go on to.
pub(super) enum Way {
    /// Into the machine.
    Inward(Target),
    /// To where the pod sent them, from the host.
    Outward(Outward),
}

/// The way from the machine to the outside.
pub(super) struct Outward {
    host: HostThread,
    conntrack: RefCell<NetfilterSocket>,
    /// Where the kernel leads pods' datagrams.
    port: u16,
}

impl Outward {
    /// To be called in the machine's namespace.
    pub(super) fn open(host: HostThread, port: u16) -> io::Result<Self> {
        Ok(Self { host, conntrack: RefCell::new(NetfilterSocket::open()?), port })
    }

    async fn connect(&self, client: SocketAddr) -> Option<(UdpSocket, SocketAddr)> {
        let SocketAddr::V4(client) = client else { return None };
        let any = (Ipv4Addr::UNSPECIFIED, 0).into();
        // The address that answers come from is the one that the datagram was led to.
        let answering = UdpSocket::bind::<SocketAddr>(any).await.ok()?;
        answering.connect(client).await.ok()?;
        let SocketAddr::V4(machine) = answering.local_addr().ok()? else { return None };
        let led_to = SocketAddrV4::new(*machine.ip(), self.port);
        let found = find_destination(&mut self.conntrack.borrow_mut(), client, led_to);
        // Who sends to this port itself would be led back to it for ever.
        let target = found.ok().flatten().filter(|found| found.port() != self.port)?;
        let HostSocket::Udp(socket) = self.host.bind(Protocol::Udp, any).await.ok()? else { return None };
        let socket = UdpSocket::from_std(socket).ok()?;
        socket.connect(target).await.ok()?;
        Some((socket, target.into()))
    }
}

impl Way {
    fn idle(&self) -> Duration {
        match self {
            Self::Inward(_) => IDLE,
            Self::Outward(_) => IDLE_OUTWARD,
        }
    }

    fn is_still(&self, target: SocketAddr) -> bool {
        match self {
            Self::Inward(current) => current.get() == target,
            Self::Outward(_) => true,
        }
    }

    /// A socket for one client, and where it leads.
    async fn connect(&self, client: SocketAddr) -> Option<(UdpSocket, SocketAddr)> {
        let target = match self {
            Self::Inward(target) => target.get(),
            Self::Outward(outward) => return outward.connect(client).await,
        };
        let any: SocketAddr =
            if target.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
        let socket = UdpSocket::bind(any).await.ok()?;
        socket.connect(target).await.ok()?;
        Some((socket, target))
    }
}

/// Relays datagrams of `listener` until the task is aborted.
pub(super) async fn relay(listener: UdpSocket, way: Way, shared: Shared) {
    let listener = Rc::new(listener);
    let sessions = Sessions::default();
    let mut datagram = vec![0; DATAGRAM_BYTES];
    loop {
        // An error here is an ICMP answer to something sent earlier.
        let Ok((length, client)) = listener.recv_from(&mut datagram).await else { continue };
        if let Some(session) = session(&sessions, client, &listener, &way, &shared).await {
            session.last_used.set(Instant::now());
            let _ = session.socket.send(&datagram[..length]).await;
        }
    }
}

async fn session(
    sessions: &Sessions,
    client: SocketAddr,
    listener: &Rc<UdpSocket>,
    way: &Way,
    shared: &Shared,
) -> Option<Session> {
    let known = sessions.borrow().get(&client).filter(|session| way.is_still(session.target)).cloned();
    if known.is_some() {
        return known;
    }
    if sessions.borrow().len() >= MAX_SESSIONS {
        return None;
    }
    let (socket, target) = way.connect(client).await?;
    let session = Session { socket: Rc::new(socket), target, last_used: Rc::new(Cell::new(Instant::now())) };
    sessions.borrow_mut().insert(client, session.clone());
    let carried = answers(session.clone(), client, listener.clone(), sessions.clone(), (way.idle(), shared.clone()));
    drop(spawn_local(carried));
    Some(session)
}

/// Carries the answers of one session back, and ends it when it has been idle.
async fn answers(
    session: Session,
    client: SocketAddr,
    listener: Rc<UdpSocket>,
    sessions: Sessions,
    (idle, shared): (Duration, Shared),
) {
    let _counted = shared.count();
    let mut datagram = vec![0; DATAGRAM_BYTES];
    loop {
        match timeout(idle, session.socket.recv(&mut datagram)).await {
            Ok(Ok(length)) => {
                session.last_used.set(Instant::now());
                let _ = listener.send_to(&datagram[..length], client).await;
            }
            // Nobody listens at the target yet: the client's next datagram may find somebody.
            Ok(Err(_)) => {}
            Err(_) if session.last_used.get().elapsed() < idle => {}
            Err(_) => break,
        }
    }
    let mut sessions = sessions.borrow_mut();
    if sessions.get(&client).is_some_and(|current| Rc::ptr_eq(&current.socket, &session.socket)) {
        sessions.remove(&client);
    }
}
