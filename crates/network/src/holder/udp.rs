//! Published UDP ports: one socket in the machine for each client, for as long as either side talks.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    rc::Rc,
    time::Duration,
};

use tokio::{
    net::UdpSocket,
    task::spawn_local,
    time::{Instant, timeout},
};

use super::relay::{Shared, Target};

/// A client that is silent for this long is forgotten; twice what conntrack gives an unanswered UDP flow.
const IDLE: Duration = Duration::from_secs(60);
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

/// Relays datagrams of `listener` until the task is aborted.
pub(super) async fn relay(listener: UdpSocket, target: Target, shared: Shared) {
    let listener = Rc::new(listener);
    let sessions = Sessions::default();
    let mut datagram = vec![0; DATAGRAM_BYTES];
    loop {
        // An error here is an ICMP answer to something sent earlier.
        let Ok((length, client)) = listener.recv_from(&mut datagram).await else { continue };
        if let Some(session) = session(&sessions, client, &listener, target.get(), &shared).await {
            session.last_used.set(Instant::now());
            let _ = session.socket.send(&datagram[..length]).await;
        }
    }
}

async fn session(
    sessions: &Sessions,
    client: SocketAddr,
    listener: &Rc<UdpSocket>,
    target: SocketAddr,
    shared: &Shared,
) -> Option<Session> {
    let known = sessions.borrow().get(&client).filter(|session| session.target == target).cloned();
    if known.is_some() {
        return known;
    }
    if sessions.borrow().len() >= MAX_SESSIONS {
        return None;
    }
    let any: SocketAddr = if target.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(any).await.ok()?;
    socket.connect(target).await.ok()?;
    let session = Session { socket: Rc::new(socket), target, last_used: Rc::new(Cell::new(Instant::now())) };
    sessions.borrow_mut().insert(client, session.clone());
    drop(spawn_local(answers(session.clone(), client, listener.clone(), sessions.clone(), shared.clone())));
    Some(session)
}

/// Carries the answers of one session back, and ends it when it has been idle.
async fn answers(session: Session, client: SocketAddr, listener: Rc<UdpSocket>, sessions: Sessions, shared: Shared) {
    let _counted = shared.count();
    let mut datagram = vec![0; DATAGRAM_BYTES];
    loop {
        match timeout(IDLE, session.socket.recv(&mut datagram)).await {
            Ok(Ok(length)) => {
                session.last_used.set(Instant::now());
                let _ = listener.send_to(&datagram[..length], client).await;
            }
            // Nobody listens at the target yet: the client's next datagram may find somebody.
            Ok(Err(_)) => {}
            Err(_) if session.last_used.get().elapsed() < IDLE => {}
            Err(_) => break,
        }
    }
    let mut sessions = sessions.borrow_mut();
    if sessions.get(&client).is_some_and(|current| Rc::ptr_eq(&current.socket, &session.socket)) {
        sessions.remove(&client);
    }
}
