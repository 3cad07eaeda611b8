//! Health checks of load balancers: whether this node has an endpoint of a Service whose traffic stays on its node.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use http::{Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpListener,
    task::{JoinHandle, spawn_local},
    time::sleep,
};

use super::{
    Protocol,
    host::{HostSocket, HostThread},
    process::log,
    protocol::HealthCheck,
};

const PAUSE: Duration = Duration::from_millis(100);
/// A balancer asks at once; who does not is let go.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);

struct Listener {
    check: Rc<RefCell<HealthCheck>>,
    task: JoinHandle<()>,
}

/// All health checks.
pub(super) struct HealthChecks {
    host: HostThread,
    listeners: HashMap<SocketAddr, Listener>,
}

impl HealthChecks {
    pub(super) fn new(host: HostThread) -> Self {
        Self { host, listeners: HashMap::new() }
    }

    /// Makes `checks` the whole set. Why some could not be opened, in the words of the kernel.
    pub(super) async fn set(&mut self, checks: Vec<HealthCheck>) -> Result<(), String> {
        let mut wanted: BTreeMap<SocketAddr, HealthCheck> = checks.into_iter().map(|check| (check.listen, check)).collect();
        self.listeners.retain(|listen, listener| {
            let stays = wanted.remove(listen);
            match stays {
                Some(check) => drop(listener.check.replace(check)),
                None => {
                    listener.task.abort();
                    return false;
                }
            }
            true
        });
        let mut failures = Vec::new();
        for (listen, check) in wanted {
            match self.open(check).await {
                Ok(listener) => drop(self.listeners.insert(listen, listener)),
                Err(error) => failures.push(format!("{listen}: {error}")),
            }
        }
        if failures.is_empty() { Ok(()) } else { Err(failures.join(", ")) }
    }

    async fn open(&self, check: HealthCheck) -> std::io::Result<Listener> {
        let HostSocket::Tcp(socket) = self.host.bind(Protocol::Tcp, check.listen).await? else {
            return Err(std::io::ErrorKind::Unsupported.into());
        };
        let check = Rc::new(RefCell::new(check));
        let task = spawn_local(serve(TcpListener::from_std(socket)?, check.clone()));
        Ok(Listener { check, task })
    }
}

async fn serve(listener: TcpListener, check: Rc<RefCell<HealthCheck>>) {
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                let check = check.clone();
                let service = service_fn(move |_| {
                    let answer = answer(&check.borrow());
                    async { Ok::<_, Infallible>(answer) }
                });
                let mut builder = http1::Builder::new();
                builder.timer(TokioTimer::new()).header_read_timeout(HEAD_PATIENCE);
                let connection = builder.serve_connection(TokioIo::new(client), service);
                drop(spawn_local(async move {
                    // A client that breaks off is nothing to report.
                    let _ = connection.await;
                }));
            }
            Err(error) => {
                log(&error);
                sleep(PAUSE).await;
            }
        }
    }
}

/// As upstream's proxy words it.
fn answer(check: &HealthCheck) -> Response<Full<Bytes>> {
    let HealthCheck { namespace, name, local_endpoints, .. } = check;
    let text = format!(
        "{{\n\t\"service\": {{\n\t\t\"namespace\": \"{namespace}\",\n\t\t\"name\": \"{name}\"\n\t}},\n\t\"localEndpoints\": \
         {local_endpoints},\n\t\"serviceProxyHealthy\": true\n}}"
    );
    let mut response = Response::new(Full::new(Bytes::from(text)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    headers.insert("x-content-type-options", http::HeaderValue::from_static("nosniff"));
    headers.insert("x-load-balancing-endpoint-weight", http::HeaderValue::from(*local_endpoints));
    if *local_endpoints == 0 {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}
