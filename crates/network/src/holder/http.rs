//! The HTTP path: requests, not connections, go to backends, so a client that keeps its connection never notices that pods come and go.
//!
//! A backend that leaves gets no further request at that instant; what is in flight there ends well. A request of which no byte
//! was sent, or which may be repeated, is tried elsewhere. It lives in the holder so that it goes on while the main process is away.

mod affinity;
mod balance;
mod body;
mod counts;
mod forward;
mod pool;

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    rc::Rc,
    time::Duration,
};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::spawn_local,
    time::sleep,
};

use super::{
    process::log,
    protocol::{HttpBackend, HttpCounts, HttpPort, HttpRoute},
    relay::Shared,
};
use affinity::Affinity;
use balance::Balance;
pub(crate) use counts::BOUNDS_MILLISECONDS;
use counts::Counts;
use pool::Backend;

const PAUSE: Duration = Duration::from_millis(100);
/// A client that has not sent its whole request head by then is let go.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);

/// One HTTP port of one Service, shared by its connections.
pub(super) struct Route {
    name: String,
    state: RefCell<RouteState>,
    counts: RefCell<Counts>,
    /// Told of every change of the backends.
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct RouteState {
    backends: BTreeMap<SocketAddr, Rc<Backend>>,
    balance: Balance,
    affinity: Affinity,
}

struct Served {
    route: Rc<Route>,
    port: u16,
    /// Dropped when the route is no longer wanted: it stops to listen, and its connections end after their request.
    _open: watch::Sender<()>,
}

/// All HTTP routes.
pub(super) struct HttpPath {
    routes: HashMap<String, Served>,
    shared: Shared,
}

impl HttpPath {
    pub(super) fn new(shared: Shared) -> Self {
        Self { routes: HashMap::new(), shared }
    }

    /// Makes `routes` the whole set, and says on which port of the machine each of them is. A route that stays keeps its port.
    ///
    /// When this returns, no request goes to a backend that is not in `routes` any more.
    pub(super) async fn set(&mut self, routes: Vec<HttpRoute>) -> io::Result<Vec<HttpPort>> {
        self.routes.retain(|name, _| routes.iter().any(|route| route.name == *name));
        let mut ports = Vec::new();
        for wanted in routes {
            if !self.routes.contains_key(&wanted.name) {
                let served = self.serve(wanted.name.clone()).await?;
                self.routes.insert(wanted.name.clone(), served);
            }
            if let Some(served) = self.routes.get(&wanted.name) {
                ports.push(HttpPort { name: wanted.name.clone(), port: served.port });
                served.route.set(wanted);
            }
        }
        Ok(ports)
    }

    pub(super) fn counts(&self) -> Vec<HttpCounts> {
        let mut counts: Vec<_> =
            self.routes.values().flat_map(|served| served.route.counts.borrow().all(&served.route.name)).collect();
        counts.sort_unstable_by(|a, b| (&a.route, &a.revision).cmp(&(&b.route, &b.revision)));
        counts
    }

    async fn serve(&self, name: String) -> io::Result<Served> {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
        let port = listener.local_addr()?.port();
        let route =
            Rc::new(Route { name, state: RefCell::default(), counts: RefCell::default(), changed: watch::Sender::new(()) });
        let (open, closed) = watch::channel(());
        drop(spawn_local(accept(listener, route.clone(), closed, self.shared.clone())));
        Ok(Served { route, port, _open: open })
    }
}

impl Route {
    fn set(&self, wanted: HttpRoute) {
        let mut state = self.state.borrow_mut();
        let mut old = std::mem::take(&mut state.backends);
        for wanted_backend in wanted.backends {
            let HttpBackend { address, revision } = wanted_backend;
            let kept = old.get(&address).filter(|kept| kept.revision == revision && kept.http2 == wanted.http2);
            let backend = if kept.is_some() { old.remove(&address) } else { None };
            let backend = backend.unwrap_or_else(|| Rc::new(Backend::new(address, revision, wanted.http2)));
            state.backends.insert(address, backend);
        }
        // Connections that are idle end now; those in use end with their request.
        old.into_values().for_each(|backend| backend.retire());
        state.balance.set_split(wanted.split);
        state.affinity.set_timeout(wanted.affinity_seconds);
        drop(state);
        self.changed.send_replace(());
    }

    /// A backend for one request, other than those in `not`, unless there is no other.
    fn choose(&self, client: IpAddr, not: &[SocketAddr]) -> Option<Rc<Backend>> {
        let mut state = self.state.borrow_mut();
        let RouteState { backends, balance, affinity } = &mut *state;
        let before = affinity.find(client).filter(|address| !not.contains(address));
        if let Some(backend) = before.and_then(|address| backends.get(&address)) {
            affinity.remember(client, backend.address);
            return Some(Rc::clone(backend));
        }
        let untried: Vec<_> = backends.values().filter(|backend| !not.contains(&backend.address)).cloned().collect();
        let candidates = if untried.is_empty() { backends.values().cloned().collect() } else { untried };
        let chosen = balance.choose(&candidates)?;
        affinity.remember(client, chosen.address);
        Some(chosen)
    }
}

async fn accept(listener: TcpListener, route: Rc<Route>, mut closed: watch::Receiver<()>, shared: Shared) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = closed.changed() => return,
        };
        match accepted {
            Ok((client, address)) => drop(spawn_local(serve(client, address, route.clone(), closed.clone(), shared.clone()))),
            Err(error) => {
                log(&error);
                sleep(PAUSE).await;
            }
        }
    }
}

/// Serves one client until it leaves, or the route does.
async fn serve(client: TcpStream, address: SocketAddr, route: Rc<Route>, mut closed: watch::Receiver<()>, shared: Shared) {
    let _counted = shared.count();
    let _ = client.set_nodelay(true);
    let service = service_fn(move |request| forward::forward(route.clone(), request, address.ip()));
    let mut builder = Builder::new(LocalExecutor);
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_PATIENCE);
    builder.http2().timer(TokioTimer::new());
    let mut connection = std::pin::pin!(builder.serve_connection_with_upgrades(TokioIo::new(client), service));
    // A client that breaks off is nothing to report.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = closed.changed() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// Runs what hyper wants to run beside a connection, on this one thread.
#[derive(Debug, Clone, Copy)]
struct LocalExecutor;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        drop(spawn_local(future));
    }
}
