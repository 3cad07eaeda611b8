//! The parts of a machine, started and stopped in the right order.
//!
//! Up: store, API server, then everyone who talks to it. Down: the node agent first (pods end within their grace, still routed and
//! watched), then the rest, the namespaces last.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result};
use kube::Client;
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use windlass_apiserver::{ApiServer, pki::Pki};
use windlass_cli::args::{self, Runtime};
use windlass_network::{Addresses, Holder};
use windlass_storage::Embedded;

use super::{
    Prepared,
    containers::Containers,
    data_dir::DataDir,
    kubeconfig,
    nodes::{LocalControllers, LocalNode},
    ready,
    routes::MachineRoutes,
    signals::Signals,
    token, upgrade,
};

/// What must be had before there is a second thread.
#[derive(Debug)]
pub(crate) enum Ground {
    /// Nothing: no container will run.
    Hollow,
    /// The namespaces; this process is in the machine's mount namespace now. True when they were there before.
    Namespaces(Holder, bool),
}

impl Ground {
    pub(crate) fn prepare(options: &args::Up, data_dir: &DataDir) -> Result<Self> {
        if options.runtime == Runtime::Hollow {
            return Ok(Self::Hollow);
        }
        // Checked here so that a mistake is told before anything has been started.
        super::containers::mirrors(options)?;
        super::ground::prepare(data_dir.path()).map(|(holder, found)| Self::Namespaces(holder, found))
    }

    /// The namespaces if we made them ourselves: what did not start is to leave none of them behind.
    fn made(&self) -> Option<Holder> {
        match self {
            Self::Namespaces(holder, false) => Some(holder.clone()),
            _ => None,
        }
    }
}

/// Told to end before it had started.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// A machine that runs.
pub(crate) struct Machine {
    server: ApiServer,
    address: SocketAddr,
    kubeconfig: PathBuf,
    started: Instant,
    /// The API's sockets, on the host and inside the machine, for the process that this one becomes.
    sockets: Vec<OwnedFd>,
    containers: Option<Containers>,
    controllers: Arc<LocalControllers>,
    /// Everything but the API server.
    parts: JoinSet<()>,
    stop_parts: CancellationToken,
    serving: JoinSet<()>,
    stop_serving: CancellationToken,
    /// Last, so that the directory stays locked until everything else is gone.
    data_dir: DataDir,
}

impl Machine {
    /// Starts everything. A machine that does not start, or is told to end before it has, leaves nothing behind; one that was
    /// found goes on as it did.
    pub(crate) async fn start(options: &args::Up, prepared: Prepared, signals: &mut Signals) -> Result<Self> {
        let made = prepared.ground.made();
        let started = Self::start_or_leave(options, prepared, signals, made.is_some()).await;
        if started.is_err()
            && let Some(holder) = made
        {
            // Gone already when the machine was stopped.
            let _ = holder.stop();
        }
        started
    }

    async fn start_or_leave(options: &args::Up, prepared: Prepared, signals: &mut Signals, made: bool) -> Result<Self> {
        let Prepared { data_dir, listener, inside, ground, kubeconfig, started } = prepared;
        let addresses = Addresses::default();
        let address = listener.local_addr()?;
        let token = token::choose(options.token.as_deref(), data_dir.path())?;
        let pki = Pki::load_or_create(&data_dir.path().join("pki"), &names(address.ip(), &addresses))
            .context("cannot make the machine's certificates")?;
        let (local_node, routes) = (Arc::new(LocalNode::default()), Arc::new(MachineRoutes::default()));
        let controllers = Arc::new(LocalControllers::default());
        let server = start_server(&data_dir, &token, pki, (&local_node, &routes, &controllers), &addresses).await?;
        let mut machine = Self {
            server,
            address,
            kubeconfig,
            started,
            sockets: Vec::new(),
            containers: None,
            controllers,
            parts: JoinSet::new(),
            stop_parts: CancellationToken::new(),
            serving: JoinSet::new(),
            stop_serving: CancellationToken::new(),
            data_dir,
        };
        kubeconfig::write(&machine.kubeconfig, address, &machine.server.pki().ca_certificate, &token)?;
        let parts = machine.start_parts(options, (listener, inside), ground, &addresses, (&local_node, &routes));
        let outcome = tokio::select! {
            outcome = parts => outcome,
            // One that was found is to be stopped as a whole: that is for whoever has it once it has started.
            () = signals.stop(), if made => Err(Interrupted.into()),
        };
        match outcome {
            Ok(()) => Ok(machine),
            Err(error) => {
                if made {
                    machine.stop().await?;
                }
                Err(error)
            }
        }
    }

    async fn start_parts(
        &mut self,
        options: &args::Up,
        (listener, inside): (TcpListener, Option<TcpListener>),
        ground: Ground,
        addresses: &Addresses,
        links: (&LocalNode, &MachineRoutes),
    ) -> Result<()> {
        self.serve(listener)?;
        self.start_controllers();
        match ground {
            Ground::Hollow => self.start_hollow(options.nodes),
            Ground::Namespaces(holder, _) => {
                self.containers = Some(Containers::start(options, self, (holder, inside), addresses, links).await?);
            }
        }
        let has_nodes = self.containers.is_some() || options.nodes > 0;
        ready::wait(&self.client("windlass", "windlass"), has_nodes).await
    }

    /// Says that the machine is ready, in one line; once, however often it is upgraded.
    #[expect(clippy::print_stdout, reason = "whoever started the machine waits for this line")]
    pub(crate) fn announce(&self, is_upgrade: bool) {
        if is_upgrade {
            tracing::info!(version = env!("CARGO_PKG_VERSION"), "upgraded in {:.2} s", self.started.elapsed().as_secs_f64());
            return;
        }
        println!("ready in {:.2} s   export KUBECONFIG={}", self.started.elapsed().as_secs_f64(), self.kubeconfig.display());
        tracing::info!(address = %self.address, "serving the Kubernetes API");
    }

    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    pub(crate) fn containers(&self) -> Option<&Containers> {
        self.containers.as_ref()
    }

    pub(crate) fn data_dir(&self) -> &Path {
        self.data_dir.path()
    }

    /// A client without a socket, for a part of this process that is called as upstream's program.
    pub(crate) fn client(&self, user: &str, program: &'static str) -> Client {
        Client::new(self.server.in_process_as(user, program), "default")
    }

    /// Serves the API on one more socket.
    pub(crate) fn serve(&mut self, listener: TcpListener) -> Result<()> {
        self.sockets.push(listener.try_clone().context("cannot keep the API's socket")?.into());
        let (server, stop) = (self.server.clone(), self.stop_serving.clone());
        self.serving.spawn(async move {
            if let Err(error) = server.serve(listener, stop).await {
                tracing::error!(%error, "the API is no longer served");
            }
        });
        Ok(())
    }

    /// Waits until the process that holds the namespaces has ended; for ever, if there is none.
    pub(crate) async fn holder_ended(&self) {
        match &self.containers {
            Some(containers) => containers.holder_ended().await,
            None => std::future::pending().await,
        }
    }

    /// Goes on as the binary that is on the disk now: whoever asks meanwhile waits, and all that runs goes on. Gives the machine back
    /// as it was when that binary cannot take over.
    ///
    /// Fails when the kernel refuses at the last moment; then the machine is left as by a killed process, for the next start.
    pub(crate) async fn upgrade(mut self, binary: &Path) -> Result<Self> {
        if let Err(error) = upgrade::try_out(binary).await {
            tracing::error!(error = format!("{error:#}"), "no upgrade; this windlass goes on");
            return Ok(self);
        }
        tracing::info!(binary = %binary.display(), "going on as the binary that is there now");
        self.stop_serving.cancel();
        while self.serving.join_next().await.is_some() {}
        upgrade::become_binary(binary, &self.data_dir, &self.kubeconfig, &self.sockets)?;
        Ok(self)
    }

    /// Runs a part until the machine stops.
    pub(crate) fn run<F: Future<Output = ()> + Send + 'static>(&mut self, part: impl FnOnce(CancellationToken) -> F) {
        self.parts.spawn(part(self.stop_parts.clone()));
    }

    /// Cancelled when the parts are to end.
    pub(crate) fn stop_parts(&self) -> CancellationToken {
        self.stop_parts.clone()
    }

    fn start_controllers(&mut self) {
        let client = self.client("system:kube-controller-manager", "kube-controller-manager");
        let mut options = windlass_controllers::Options::new(self.server.pki().ca_certificate.clone(), Arc::new(rand::random));
        options.volumes_directory = self.data_dir().join("volumes").display().to_string();
        options.scheduler = Some(self.client("system:kube-scheduler", "kube-scheduler"));
        let running = self.controllers.hold();
        self.run(|stop| async move {
            let _running = running;
            windlass_controllers::run(client, options, stop).await;
        });
        let server = self.server.clone();
        self.run(|stop| async move { server.housekeeping(stop).await });
    }

    /// Without nodes the machine is a control plane alone: whoever wants nodes brings them.
    fn start_hollow(&mut self, nodes: u32) {
        if nodes == 0 {
            return;
        }
        let client = self.client("system:nodes", "kubelet");
        let names = (0..nodes).map(|number| format!("hollow-{number}")).collect();
        self.run(|stop| windlass_kubelet::hollow::run(client, names, windlass_kubelet::hollow::Options::default(), stop));
    }

    /// Stops everything, pods first, and leaves nothing of the machine behind but its data.
    pub(crate) async fn stop(mut self) -> Result<()> {
        if let Some(containers) = &self.containers {
            containers.stop_pods().await;
        }
        self.stop_parts.cancel();
        while self.parts.join_next().await.is_some() {}
        self.sockets.clear();
        self.stop_serving.cancel();
        while self.serving.join_next().await.is_some() {}
        match self.containers.take() {
            Some(containers) => containers.end(),
            None => Ok(()),
        }
    }
}

async fn start_server(
    data_dir: &DataDir,
    token: &str,
    pki: Pki,
    (local_node, routes, controllers): (&Arc<LocalNode>, &Arc<MachineRoutes>, &Arc<LocalControllers>),
    addresses: &Addresses,
) -> Result<ApiServer> {
    let store = Embedded::open(&data_dir.path().join("store"))
        .with_context(|| format!("cannot open the store in {}", data_dir.path().join("store").display()))?;
    let mut options = windlass_apiserver::Options::new(token, pki);
    options.nodes = local_node.clone();
    options.routes = routes.clone();
    options.parts = controllers.clone();
    options.service_cidr = windlass_apiserver::Cidr { address: addresses.services.base(), prefix: addresses.services.prefix() };
    options.advertise = (addresses.machine(), 6443);
    ApiServer::new(Arc::new(store), options).await.context("cannot start the API server")
}

/// Names and addresses that the API is reached by.
fn names(listen: IpAddr, addresses: &Addresses) -> Vec<String> {
    let domain = &addresses.cluster_domain;
    let mut names: Vec<String> =
        ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"].map(str::to_owned).to_vec();
    names.push(format!("kubernetes.default.svc.{domain}"));
    if let Ok(host) = nix::unistd::gethostname() {
        names.extend(host.into_string());
    }
    let fixed = [IpAddr::V4(Ipv4Addr::LOCALHOST), addresses.machine().into(), addresses.services.nth(1).into(), listen];
    names.extend(fixed.iter().filter(|address| !address.is_unspecified()).map(ToString::to_string));
    names.sort();
    names.dedup();
    names
}
