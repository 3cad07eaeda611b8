//! Kept connections of published ports: one that speaks HTTP/1 goes from a pod that is to stop to another, between two requests.
//!
//! Its client notices nothing, so none of its requests meets a server that has just ended. Bytes pass as they are, whatever they are.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    rc::{Rc, Weak},
    time::Duration,
};

use tokio::{net::TcpStream, sync::Notify, time::timeout};

use super::{
    exchanges::Exchanges,
    process::log,
    relay::{Ear, Shared, Target, connect, splice},
};
use crate::netfilter::{NetfilterSocket, find_backend};

/// A client that has no server and asks nothing is let go after this long, as web servers do.
const IDLE: Duration = Duration::from_secs(60);

/// One connection of a client.
#[derive(Debug, Default)]
struct Kept {
    exchanges: RefCell<Exchanges>,
    /// Something of an answer is on its way to the client.
    is_unwritten: Cell<bool>,
    /// It is to leave its server as soon as it rests.
    is_leaving: Cell<bool>,
    changed: Notify,
    /// Both ends of the connection to the server: the kernel knows by them where it leads.
    ends: Cell<Option<(SocketAddrV4, SocketAddrV4)>>,
    /// Where that is, once somebody has asked.
    backend: Cell<Option<Ipv4Addr>>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct KeptConnections {
    all: RefCell<Vec<Weak<Kept>>>,
    /// Pods that are to stop: whoever was on the way to one when the others were told to leave is told on arrival.
    parting: RefCell<BTreeSet<Ipv4Addr>>,
}

impl KeptConnections {
    fn add(&self) -> Rc<Kept> {
        let kept = Rc::new(Kept::default());
        let mut all = self.all.borrow_mut();
        // Now and then, so that it costs nothing by the connection.
        if all.len() == all.capacity() {
            all.retain(|kept| kept.strong_count() > 0);
        }
        all.push(Rc::downgrade(&kept));
        kept
    }

    /// Makes `pods` the whole set of those that nobody is to stay with.
    pub(super) fn part(&self, pods: &BTreeSet<Ipv4Addr>) {
        self.parting.borrow_mut().clone_from(pods);
    }

    /// Has those that lead to one of `pods` leave it once they rest; new connections must not lead there any more.
    pub(super) fn leave(&self, pods: &BTreeSet<Ipv4Addr>) -> io::Result<()> {
        let mut socket = None;
        let all: Vec<Rc<Kept>> = self.all.borrow().iter().filter_map(Weak::upgrade).collect();
        all.iter().filter(|kept| kept.exchanges.borrow().is_heard()).try_for_each(|kept| kept.leave(pods, &mut socket))
    }

    fn arrived(&self, kept: &Kept, server: &TcpStream) {
        kept.connected(server);
        let parting = self.parting.borrow();
        // One whose way the kernel does not know has the time that all others have.
        if !parting.is_empty()
            && let Err(error) = kept.leave(&parting, &mut None)
        {
            log(&format!("a kept connection may stay with a pod that is to stop: {error}"));
        }
    }
}

impl Kept {
    fn connected(&self, server: &TcpStream) {
        let ends = match (server.local_addr(), server.peer_addr()) {
            (Ok(SocketAddr::V4(from)), Ok(SocketAddr::V4(to))) => Some((from, to)),
            _ => None,
        };
        self.ends.set(ends);
        self.backend.set(None);
        self.is_leaving.set(false);
    }

    /// Is to leave its server once it rests, if that is one of `pods`. `socket` is opened when it is needed.
    fn leave(&self, pods: &BTreeSet<Ipv4Addr>, socket: &mut Option<NetfilterSocket>) -> io::Result<()> {
        let Some((from, to)) = self.ends.get() else { return Ok(()) };
        if self.backend.get().is_none() {
            let socket = match socket {
                Some(socket) => socket,
                None => socket.insert(NetfilterSocket::open()?),
            };
            self.backend.set(find_backend(socket, from, to)?);
        }
        if self.backend.get().is_some_and(|backend| pods.contains(&backend)) {
            self.is_leaving.set(true);
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Returns when it has to leave, and rests.
    async fn left(&self) {
        while !(self.is_leaving.get() && !self.is_unwritten.get() && self.exchanges.borrow().is_at_rest()) {
            self.changed.notified().await;
        }
        self.ends.set(None);
    }
}

/// Listens to one direction.
struct Side<'a> {
    kept: &'a Kept,
    is_client: bool,
}

impl Ear for Side<'_> {
    fn hear(&self, bytes: &[u8]) {
        let mut exchanges = self.kept.exchanges.borrow_mut();
        if self.is_client {
            exchanges.client_said(bytes);
        } else {
            self.kept.is_unwritten.set(true);
            exchanges.server_said(bytes);
        }
    }

    fn passed_on(&self) {
        if !self.is_client {
            self.kept.is_unwritten.set(false);
        }
        // It rests after either side's last word: an answer may come before all of its request has.
        if self.kept.is_leaving.get() {
            self.kept.changed.notify_one();
        }
    }

    fn ended(&self) {
        self.kept.exchanges.borrow_mut().give_up();
    }
}

/// Carries a client's connection to wherever `target` leads.
pub(super) async fn carry(client: TcpStream, target: Target, shared: Shared) {
    let _counted = shared.count();
    let kept = shared.kept.add();
    let sides = [true, false].map(|is_client| Side { kept: &kept, is_client });
    loop {
        let Some(server) = connect(&target).await else {
            let _ = client.set_zero_linger();
            return;
        };
        shared.kept.arrived(&kept, &server);
        tokio::select! {
            biased;
            () = kept.left() => drop(server),
            () = splice((&client, &sides[0]), (&server, &sides[1]), &shared) => return,
        }
        // Another one is looked for when there is something to ask it: it might have to stop before.
        if !matches!(timeout(IDLE, has_asked(&client)).await, Ok(true)) {
            return;
        }
    }
}

/// Waits for the client's next byte; false when it has gone.
async fn has_asked(client: &TcpStream) -> bool {
    client.peek(&mut [0]).await.is_ok_and(|read| read > 0)
}
