//! Real containers: the pod network, the runtime, the kubelet and the Services of this machine.

use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::Arc,
};

use anyhow::{Context as _, Result};
use tokio_util::sync::CancellationToken;
use windlass_cli::args;
use windlass_kubelet::{Kubelet, oci_runtime::OciRuntime};
use windlass_network::{Addresses, Holder, Machine as Namespace, PodNetwork};
use windlass_oci::{
    container::{Runtime, RuntimeConfig},
    image::{BuildEntry, BuildSource, Config, MirrorTable},
};

use super::{machine::Machine, nodes::LocalNode, pod_network::Connected, routes::MachineRoutes};

/// Port of the API inside the machine, where pods reach it.
const API_PORT: u16 = 6443;

/// What runs containers, and what to end last.
pub(crate) struct Containers {
    holder: Holder,
    runtime: Arc<OciRuntime>,
    kubelet: Arc<Kubelet>,
}

/// The mirrors asked for on the command line.
pub(crate) fn mirrors(options: &args::Up) -> Result<MirrorTable> {
    MirrorTable::new(&options.registry_mirrors).context("--registry-mirror")
}

impl Containers {
    pub(crate) async fn start(
        options: &args::Up,
        machine: &mut Machine,
        (holder, inside): (Holder, Option<TcpListener>),
        addresses: &Addresses,
        (local_node, routes): (&LocalNode, &MachineRoutes),
    ) -> Result<Self> {
        // Image pulls use TLS; a provider that was installed before serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let data_dir = machine.data_dir().to_owned();
        let namespace = Namespace::enter(holder.netns()).context("cannot enter the machine's network namespace")?;
        let network = PodNetwork::prepare(&namespace, addresses.clone(), &data_dir.join("network"))
            .await
            .context("cannot make the pod network")?;
        let api = SocketAddr::from((addresses.machine(), API_PORT));
        let listener = match inside {
            Some(listener) => Ok(listener),
            None => namespace.listen(api).await.and_then(tokio::net::TcpListener::into_std),
        };
        machine.serve(listener.with_context(|| format!("cannot listen on {api} inside the machine"))?)?;

        let mut config = RuntimeConfig::new(data_dir.join("containers"));
        config.mirrors = mirrors(options)?;
        config.host_netns = Some(PathBuf::from(format!("/proc/{}/ns/net", holder.pid())));
        config.processes = vec![nix::unistd::getpid().as_raw(), holder.pid()];
        let runtime = Runtime::open(config).context("cannot open the container runtime")?;
        let runtime = Arc::new(OciRuntime::new(runtime));

        let node = node_name();
        let services = windlass_network::Options {
            node: node.clone(),
            addresses: addresses.clone(),
            publish_address: options.publish_address,
            routed: routes.start(&holder),
        };
        start_services(machine, &namespace, &holder, services);
        let kubelet = start_kubelet(machine, &runtime, network, addresses, &node);
        local_node.set(&node, windlass_kubelet::server::router(kubelet.clone()));
        Ok(Self { holder, runtime, kubelet })
    }

    /// Makes an image of files of this machine.
    pub(crate) async fn build_image(
        &self,
        name: &str,
        files: Vec<(String, PathBuf)>,
        variables: Vec<String>,
        command: Vec<String>,
    ) -> Result<()> {
        let entry =
            |(path, source): (String, PathBuf)| BuildEntry { path: path.into(), mode: 0o755, source: BuildSource::File(source) };
        let mut config = Config::default();
        config.set_env(Some(variables));
        config.set_cmd(Some(command));
        let name = name.parse().with_context(|| format!("{name} is not the name of an image"))?;
        let images = self.runtime.inner().images();
        images.build(&name, files.into_iter().map(entry).collect(), config).await?;
        Ok(())
    }

    /// Stops all pods within their grace, and leaves nothing of them on the host.
    pub(crate) async fn stop_pods(&self) {
        self.kubelet.shut_down().await;
        if let Err(error) = self.runtime.inner().shut_down().await {
            tracing::warn!(error = windlass_oci::error::chain(&error), "something of a container is left");
        }
    }

    /// Waits for the end of the process that holds the namespaces.
    pub(crate) async fn holder_ended(&self) {
        self.holder.ended().await;
    }

    /// Ends the namespaces, and with them every mount, link and rule of the machine.
    pub(crate) fn end(self) -> Result<()> {
        drop(self.runtime);
        match self.holder.stop() {
            // Killed by somebody else: its namespaces end with this process, the last one in them.
            Err(error) if error.is_gone() => Ok(()),
            stopped => stopped.context("cannot end the machine's namespaces"),
        }
    }
}

/// The host's name, as the node's.
fn node_name() -> String {
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    let name: String = host.to_lowercase().chars().filter(|c| c.is_ascii_alphanumeric() || "-.".contains(*c)).collect();
    let name = name.trim_matches(['-', '.']);
    if name.is_empty() { "windlass".to_owned() } else { name.to_owned() }
}

fn start_services(machine: &mut Machine, namespace: &Namespace, holder: &Holder, options: windlass_network::Options) {
    let client = machine.client("system:kube-proxy", "kube-proxy");
    let (namespace, holder) = (namespace.clone(), holder.clone());
    machine.run(|stop: CancellationToken| async move {
        if let Err(error) = windlass_network::run(client, namespace, holder, options, stop).await {
            tracing::error!(error = &error as &dyn std::error::Error, "Services are no longer routed");
        }
    });
}

fn start_kubelet(
    machine: &mut Machine,
    runtime: &Arc<OciRuntime>,
    network: PodNetwork,
    addresses: &Addresses,
    node: &str,
) -> Arc<Kubelet> {
    let mut options = windlass_kubelet::Options::new(node, addresses.machine().into(), machine.data_dir());
    options.pod_cidr = Some(addresses.pods.to_string());
    options.cluster_domain.clone_from(&addresses.cluster_domain);
    let client = machine.client(&format!("system:node:{node}"), "kubelet");
    let kubelet = Kubelet::new(client, runtime.clone(), Arc::new(Connected(network)), options, machine.stop_parts());
    let running = kubelet.clone();
    machine.run(|_| async move {
        if let Err(error) = running.run().await {
            tracing::error!(error = &error as &dyn std::error::Error, "pods are no longer looked after");
        }
    });
    kubelet
}
