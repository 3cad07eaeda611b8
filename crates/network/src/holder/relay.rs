//! Published ports: listeners in the host's network namespace, connections from there into the machine's.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeSet, HashMap},
    net::{Ipv4Addr, SocketAddr},
    os::fd::AsRawFd,
    rc::Rc,
    time::Duration,
};

use nix::sys::socket::{Shutdown, shutdown};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinHandle, spawn_local},
    time::{Instant, sleep, timeout_at},
};

use super::{
    Protocol, PublishFailure, PublishedPort,
    host::{HostSocket, HostThread},
    kept::{self, KeptConnections},
    process::log,
    udp,
};

/// How long a client waits while the target refuses: a main process that restarts, or the moment between
/// the last old endpoint and the first new one. Longer, and a client with a timeout of its own has gone.
const CONNECT_PATIENCE: Duration = Duration::from_secs(3);
/// First pause after a refused attempt; it doubles up to `LONGEST_PAUSE`.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// Longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// One buffer serves all connections, since one thread does: what could not be written at once is copied aside.
const SCRATCH_BYTES: usize = 64 << 10;

/// A transport and an address of the host: what tells listeners apart.
type Key = (Protocol, SocketAddr);
/// Where new connections of a listener lead; it may change while the listener stays.
pub(super) type Target = Rc<Cell<SocketAddr>>;

struct Listener {
    target: Target,
    task: JoinHandle<()>,
}

/// All published ports.
pub(super) struct Relay {
    host: HostThread,
    listeners: HashMap<Key, Listener>,
    shared: Shared,
}

/// What connections share.
#[derive(Clone)]
pub(super) struct Shared {
    scratch: Rc<RefCell<Box<[u8]>>>,
    connections: Rc<Cell<usize>>,
    pub(super) kept: Rc<KeptConnections>,
}

impl Shared {
    /// Counts a connection for as long as the result lives.
    pub(super) fn count(&self) -> Counted {
        self.connections.set(self.connections.get() + 1);
        Counted(self.connections.clone())
    }
}

pub(super) struct Counted(Rc<Cell<usize>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Relay {
    pub(super) fn new(host: HostThread) -> Self {
        let scratch = Rc::new(RefCell::new(vec![0; SCRATCH_BYTES].into_boxed_slice()));
        Self { host, listeners: HashMap::new(), shared: Shared { scratch, connections: Rc::default(), kept: Rc::default() } }
    }

    /// What connections that are not of a published port share with those that are.
    pub(super) fn shared(&self) -> Shared {
        self.shared.clone()
    }

    pub(super) fn connections(&self) -> usize {
        self.shared.connections.get()
    }

    /// Has kept connections to these pods go on to others, each once it is between two requests.
    pub(super) fn leave(&self, pods: &BTreeSet<Ipv4Addr>) -> std::io::Result<()> {
        self.shared.kept.leave(pods)
    }

    /// Makes `pods` the whole set of those that no kept connection is to stay with.
    pub(super) fn part(&self, pods: &BTreeSet<Ipv4Addr>) {
        self.shared.kept.part(pods);
    }

    pub(super) fn ports(&self) -> Vec<PublishedPort> {
        let port = |(&(protocol, listen), listener): (&Key, &Listener)| PublishedPort {
            protocol,
            listen,
            target: listener.target.get(),
        };
        let mut ports: Vec<_> = self.listeners.iter().map(port).collect();
        ports.sort_unstable();
        ports
    }

    /// Makes `ports` the whole set; what is gone is closed first, so that its address can be taken by what comes.
    pub(super) async fn publish(&mut self, ports: Vec<PublishedPort>) -> Vec<PublishFailure> {
        let wanted: HashMap<Key, SocketAddr> =
            ports.into_iter().map(|port| ((port.protocol, port.listen), port.target)).collect();
        let gone: Vec<Key> = self.listeners.keys().filter(|key| !wanted.contains_key(key)).copied().collect();
        for key in gone {
            if let Some(listener) = self.listeners.remove(&key) {
                listener.task.abort();
                let _ = listener.task.await;
            }
        }
        let mut failures = Vec::new();
        for (key, target) in wanted {
            if let Some(listener) = self.listeners.get(&key) {
                listener.target.set(target);
                continue;
            }
            match self.open(key, target).await {
                Ok(listener) => {
                    self.listeners.insert(key, listener);
                }
                Err(error) => {
                    failures.push(PublishFailure { protocol: key.0, listen: key.1, reason: error.to_string() });
                }
            }
        }
        failures.sort_unstable_by_key(|failure| (failure.protocol, failure.listen));
        failures
    }

    async fn open(&self, (protocol, address): Key, target: SocketAddr) -> std::io::Result<Listener> {
        let target = Rc::new(Cell::new(target));
        let task = match self.host.bind(protocol, address).await? {
            HostSocket::Tcp(socket) => spawn_local(accept(TcpListener::from_std(socket)?, target.clone(), self.shared.clone())),
            HostSocket::Udp(socket) => {
                let (socket, way) = (tokio::net::UdpSocket::from_std(socket)?, udp::Way::Inward(target.clone()));
                spawn_local(udp::relay(socket, way, self.shared.clone()))
            }
        };
        Ok(Listener { target, task })
    }
}

async fn accept(listener: TcpListener, target: Target, shared: Shared) {
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                // Not tied to the listener: an established connection outlives its published port.
                drop(spawn_local(kept::carry(client, target.clone(), shared.clone())));
            }
            Err(error) => {
                // Out of descriptors, most likely: waiting is all there is to do, and the backlog holds the clients.
                log(&error);
                sleep(LONGEST_PAUSE).await;
            }
        }
    }
}

/// Is told what passes in one direction.
pub(super) trait Ear {
    /// These bytes were read, and are about to be passed on.
    fn hear(&self, bytes: &[u8]);
    /// All that was heard has been passed on.
    fn passed_on(&self);
    /// Nothing more will come.
    fn ended(&self);
}

/// Nobody listens.
impl Ear for () {
    fn hear(&self, _: &[u8]) {}
    fn passed_on(&self) {}
    fn ended(&self) {}
}

/// Copies both ways until both have ended, or one has broken off; who listens to a side is beside it.
pub(super) async fn splice(
    (one, from_one): (&TcpStream, &impl Ear),
    (other, from_other): (&TcpStream, &impl Ear),
    shared: &Shared,
) {
    // What arrives is passed on at once; waiting for more is up to the two ends.
    let _ = (one.set_nodelay(true), other.set_nodelay(true));
    let both = tokio::try_join!(pump(one, other, &shared.scratch, from_one), pump(other, one, &shared.scratch, from_other));
    if both.is_err() {
        // One end broke off: the other must not take it for an orderly end.
        let _ = (one.set_zero_linger(), other.set_zero_linger());
    }
}

/// Connects to wherever `target` leads, again and again for a short while: no byte of the request was sent yet, so none is lost.
pub(super) async fn connect(target: &Target) -> Option<TcpStream> {
    let deadline = Instant::now() + CONNECT_PATIENCE;
    let mut pause = FIRST_PAUSE;
    loop {
        if let Ok(Ok(stream)) = timeout_at(deadline, TcpStream::connect(target.get())).await {
            return Some(stream);
        }
        if Instant::now() + pause >= deadline {
            return None;
        }
        sleep(pause).await;
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

/// Copies one direction until its end, and passes the end on.
async fn pump(from: &TcpStream, to: &TcpStream, scratch: &RefCell<Box<[u8]>>, ear: &impl Ear) -> std::io::Result<()> {
    loop {
        from.readable().await?;
        let rest = match move_some(from, to, &mut scratch.borrow_mut(), ear) {
            Ok(Moved::End) => {
                ear.ended();
                shutdown(to.as_raw_fd(), Shutdown::Write)?;
                return Ok(());
            }
            Ok(Moved::Some(rest)) => rest,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        let mut rest = &rest[..];
        while !rest.is_empty() {
            to.writable().await?;
            match to.try_write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        ear.passed_on();
    }
}

enum Moved {
    /// Bytes that were read and are not written yet.
    Some(Vec<u8>),
    End,
}

fn move_some(from: &TcpStream, to: &TcpStream, scratch: &mut [u8], ear: &impl Ear) -> std::io::Result<Moved> {
    let read = from.try_read(scratch)?;
    if read == 0 {
        return Ok(Moved::End);
    }
    ear.hear(&scratch[..read]);
    let written = match to.try_write(&scratch[..read]) {
        Ok(written) => written,
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => 0,
        Err(error) => return Err(error),
    };
    Ok(Moved::Some(scratch[written..read].to_vec()))
}
