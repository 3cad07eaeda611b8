//! The server: what every request shares, and the ways in.

use std::{net::TcpListener, sync::Arc};

use axum::{Router, body::Body, extract::Request};
use http::{HeaderValue, header::USER_AGENT};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use windlass_storage::Store;

use crate::{
    allocate::Services,
    authn::{KnownToken, User},
    bootstrap, dispatch, housekeeping, listen,
    metrics::Metrics,
    openapi::Documents,
    options::{Clock, Nodes, Options, Parts, Random, Routes},
    pki::Pki,
    quota::Quotas,
    registry::Registry,
    token::Signer,
};

/// Upstream's 400 reading and 200 changing requests, together; beyond it clients are told to come back.
const MAX_IN_FLIGHT: usize = 600;

/// Why a server could not start or serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The objects that every cluster has could not be read or made.
    #[error("cannot prepare the store: {0}")]
    Bootstrap(#[source] windlass_api::status::Status),
    /// The service account key is not one.
    #[error("cannot use the service account key")]
    Key(#[source] jsonwebtoken::errors::Error),
    /// The serving certificate or its key is not one.
    #[error("cannot use the serving certificate: {0}")]
    Certificate(String),
    /// The listening socket failed.
    #[error("cannot serve")]
    Listen(#[source] std::io::Error),
}

/// A Kubernetes API server over a store.
#[derive(Debug, Clone)]
pub struct ApiServer {
    server: Arc<Server>,
}

/// What every request shares.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) registry: Registry,
    pub(crate) tokens: Vec<KnownToken>,
    pub(crate) signer: Signer,
    pub(crate) pki: Pki,
    pub(crate) services: Services,
    pub(crate) quotas: Quotas,
    pub(crate) advertise: (std::net::Ipv4Addr, u16),
    pub(crate) nodes: Arc<dyn Nodes>,
    pub(crate) routes: Arc<dyn Routes>,
    pub(crate) parts: Arc<dyn Parts>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) metrics: Metrics,
    pub(crate) documents: Documents,
    /// Requests that came over a socket and do not last; parts of this process are never turned away.
    pub(crate) in_flight: Semaphore,
    /// Ends long requests when the server stops.
    pub(crate) stopping: CancellationToken,
}

impl ApiServer {
    /// Prepares a server: makes the objects that every cluster has, and takes up the addresses and ports that Services hold.
    ///
    /// # Errors
    /// When the store fails or a key is not one.
    pub async fn new(store: Arc<dyn Store>, options: Options) -> Result<Self, Error> {
        let tokens = options.tokens.into_iter().map(|token| {
            let mut groups = token.groups;
            groups.push("system:authenticated".to_owned());
            let user = Arc::new(User { name: token.user, groups, ..User::default() });
            KnownToken { token: token.token, user }
        });
        let server = Server {
            registry: Registry::new(store),
            tokens: tokens.collect(),
            signer: Signer::new(&options.pki).map_err(Error::Key)?,
            pki: options.pki,
            services: Services::new(options.service_cidr, options.node_ports),
            quotas: Quotas::default(),
            advertise: options.advertise,
            nodes: options.nodes,
            routes: options.routes,
            parts: options.parts,
            clock: options.clock,
            random: options.random,
            metrics: Metrics::new(),
            documents: Documents::default(),
            in_flight: Semaphore::new(MAX_IN_FLIGHT),
            stopping: CancellationToken::new(),
        };
        let server = Arc::new(server);
        server.services.restore(&server.registry).await.map_err(Error::Bootstrap)?;
        bootstrap::run(&server).await.map_err(Error::Bootstrap)?;
        Ok(Self { server })
    }

    /// A way in for a part of this process, which is trusted: it may do everything, under this name.
    pub fn in_process(&self, user: &str) -> Router {
        self.way_in(user, None)
    }

    /// The same for a program with this name, as `managedFields` shows it: `kubelet`.
    pub fn in_process_as(&self, user: &str, program: &'static str) -> Router {
        self.way_in(user, Some(HeaderValue::from_static(program)))
    }

    fn way_in(&self, user: &str, agent: Option<HeaderValue>) -> Router {
        let (server, user) = (Arc::clone(&self.server), Arc::new(User::trusted(user)));
        Router::new().fallback(move |mut request: Request<Body>| {
            if let Some(agent) = &agent {
                request.headers_mut().insert(USER_AGENT, agent.clone());
            }
            dispatch::trusted(Arc::clone(&server), Arc::clone(&user), request)
        })
    }

    /// A way in for whoever has to say who they are.
    pub fn router(&self) -> Router {
        let server = Arc::clone(&self.server);
        Router::new().fallback(move |request: Request<Body>| dispatch::from_socket(Arc::clone(&server), request))
    }

    /// Serves TLS (HTTP/1.1 and HTTP/2) on this socket until the token is cancelled; then watches end, and requests that
    /// are under way have ten seconds.
    ///
    /// # Errors
    /// When the socket or the certificate cannot be used.
    pub async fn serve(&self, listener: TcpListener, stop: CancellationToken) -> Result<(), Error> {
        listen::serve(self.router(), &self.server.pki, listener, stop, &self.server.stopping).await
    }

    /// Keeps the store small: forgets old history every few minutes. Runs until the token is cancelled.
    pub async fn housekeeping(&self, stop: CancellationToken) {
        housekeeping::run(&self.server, stop).await;
    }

    /// Certificates and keys: what a kubeconfig and a service account's volume hold.
    pub fn pki(&self) -> &Pki {
        &self.server.pki
    }
}

impl Server {
    /// An object is gone: what it held out of a finite range goes back.
    pub(crate) fn released(&self, kind: &windlass_api::kind::Kind, object: &serde_json::Value) {
        if kind.group.is_empty() && kind.plural == "services" {
            self.services.released(object);
        }
    }
}
