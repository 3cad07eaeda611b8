//! The node agent as a whole: what all workers share, and who tells them what happens.

mod admission;
mod allocation;
mod dispatch;
mod orphans;

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Node, Pod},
    apimachinery::pkg::api::resource::Quantity,
};
use kube::Client;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) use self::allocation::Grant;
use crate::{
    events::Recorder, gc, images::Images, network::PodNetwork, node, objects::Objects, paths::Paths, pod::Handle,
    runtime::Runtime, services::Services, volumes::removal,
};

/// How a node agent is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// `metadata.name` of its node.
    pub node_name: String,
    /// Address of the machine in the pods' network: `InternalIP` of the node and `hostIP` of its pods.
    pub node_ip: IpAddr,
    /// `spec.podCIDR` of the node.
    pub pod_cidr: Option<String>,
    /// Below it: `pods` (volumes) and `pods-logs`.
    pub data_dir: PathBuf,
    /// Domain of Services and pods; `cluster.local` by default.
    pub cluster_domain: String,
    /// Host name of the machine, for pods on its network; the kernel's by default.
    pub host_name: String,
    /// Resolver configuration of the machine, for pods with `dnsPolicy: Default`.
    pub host_resolv_conf: PathBuf,
    /// Most pods on this machine; 110 by default, as upstream.
    pub max_pods: u32,
    /// Labels of the node besides the usual ones.
    pub node_labels: BTreeMap<String, String>,
}

impl Options {
    /// Options with upstream's defaults.
    pub fn new(node_name: impl Into<String>, node_ip: IpAddr, data_dir: impl Into<PathBuf>) -> Self {
        Self {
            node_name: node_name.into(),
            node_ip,
            pod_cidr: None,
            data_dir: data_dir.into(),
            cluster_domain: "cluster.local".to_owned(),
            host_name: nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default(),
            host_resolv_conf: "/etc/resolv.conf".into(),
            max_pods: 110,
            node_labels: BTreeMap::new(),
        }
    }
}

/// Why a node agent could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What runs on this machine already cannot be listed, so nothing may be started or removed.
    #[error("what runs on this machine cannot be listed")]
    List(#[source] crate::runtime::Error),
    /// The data directory cannot be used.
    #[error("{path} cannot be used", path = path.display())]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// A node agent.
pub struct Kubelet {
    pub(crate) client: Client,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) network: Arc<dyn PodNetwork>,
    pub(crate) options: Options,
    pub(crate) paths: Paths,
    pub(crate) events: Recorder,
    pub(crate) objects: Objects,
    pub(crate) images: Images,
    pub(crate) services: Services,
    /// What pods may use of the machine.
    pub(crate) allocatable: BTreeMap<String, Quantity>,
    pub(crate) memory_bytes: i64,
    /// Small tasks that nobody waits for: events, removals.
    pub(crate) tasks: TaskTracker,
    /// One task a pod.
    pub(crate) workers: TaskTracker,
    /// Workers by pod uid.
    handles: Mutex<HashMap<String, Handle>>,
    /// This machine's node as the API has it, once that is known.
    node: Mutex<Option<Arc<Node>>>,
    /// Cancelled when all pods are to stop with the machine.
    pub(crate) shutting_down: CancellationToken,
    /// Cancelled when the kubelet ends, pods running or not.
    pub(crate) stop: CancellationToken,
}

impl std::fmt::Debug for Kubelet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kubelet").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Kubelet {
    /// A node agent that does nothing yet; it ends when `stop` is cancelled.
    pub fn new(
        client: Client,
        runtime: Arc<dyn Runtime>,
        network: Arc<dyn PodNetwork>,
        options: Options,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let tasks = TaskTracker::new();
        let capacity = node::capacity::measure(&options.data_dir, options.max_pods);
        Arc::new(Self {
            events: Recorder::start(client.clone(), &options.node_name, Arc::new(Timestamp::now), &tasks),
            objects: Objects::new(client.clone(), tasks.clone()),
            images: Images::new(Arc::clone(&runtime)),
            services: Services::start(client.clone(), stop.clone(), &tasks),
            paths: Paths::new(&options.data_dir),
            allocatable: node::capacity::allocatable(&capacity),
            memory_bytes: capacity.memory_bytes,
            client,
            runtime,
            network,
            options,
            tasks,
            workers: TaskTracker::new(),
            handles: Mutex::default(),
            node: Mutex::default(),
            shutting_down: CancellationToken::new(),
            stop,
        })
    }

    /// Registers the node and looks after its pods until `stop`. Containers are left running then: the next kubelet takes them over.
    ///
    /// # Errors
    /// When what runs already cannot be listed, or the data directory cannot be used.
    pub async fn run(self: &Arc<Self>) -> Result<(), Error> {
        for path in [self.paths.pods(), self.paths.logs()] {
            std::fs::create_dir_all(&path).map_err(|source| Error::DataDir { path, source })?;
        }
        let exits = self.runtime.exits();
        let existing = orphans::existing(self.runtime.as_ref()).await.map_err(Error::List)?;
        let directories = orphans::directories(&self.paths);
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = self.follow_node() => {}
            () = self.follow_pods(existing, directories) => {}
            () = self.route_exits(exits) => {}
            () = node::keep(self) => {}
            () = gc::run(self) => {}
            () = removal::run(self.client.clone(), Some(self.paths.claimed()), |host| host == self.options.node_name) => {}
        }
        Ok(())
    }

    /// Stops all pods within their grace periods, as the machine goes down. They stay in the API and come back on the next start.
    /// To be awaited before `stop` is cancelled.
    pub async fn shut_down(&self) {
        self.shutting_down.cancel();
        self.workers.close();
        self.workers.wait().await;
    }

    pub(crate) fn host_ips(&self) -> Vec<IpAddr> {
        vec![self.options.node_ip]
    }

    pub(crate) fn handles(&self) -> MutexGuard<'_, HashMap<String, Handle>> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pods of this machine, with their status as the kubelet has it.
    pub(crate) fn pods(&self) -> Vec<Pod> {
        let with_status = |handle: &Handle| {
            let mut pod = Pod::clone(&handle.pod.borrow());
            pod.status = Some(handle.status.borrow().as_ref().clone());
            pod
        };
        self.handles().values().map(with_status).collect()
    }
}
