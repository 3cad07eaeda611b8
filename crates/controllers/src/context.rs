//! What every loop shares: the client, the clock, the caches, and a voice.

use std::{fmt, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet},
        autoscaling::v2::HorizontalPodAutoscaler,
        coordination::v1::Lease,
        core::v1::{
            ConfigMap, Endpoints, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, ReplicationController,
            ResourceQuota, Service, ServiceAccount,
        },
        discovery::v1::EndpointSlice,
        policy::v1::PodDisruptionBudget,
        storage::v1::StorageClass,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::Client;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use windlass_api::names::LABEL_SERVICE_NAME;
use windlass_planner::{owner, replica};

use crate::{
    api,
    cache::{Cache, Index, Indexer, Object, Source, key},
    event::Recorder,
    options::Options,
    queue::Next,
};

/// Name of the ConfigMap that holds the certificate of the cluster's authority in every namespace.
pub(crate) const ROOT_CA_CONFIG_MAP: &str = "kube-root-ca.crt";

/// A generated name fits a label of 63 characters, its five random ones included.
const MAX_GENERATED_BASE: usize = 63 - 5;

macro_rules! objects {
    ($($kind:ty),* $(,)?) => {$(
        impl Object for $kind {
            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    )*};
}

objects!(
    ConfigMap,
    ControllerRevision,
    DaemonSet,
    Deployment,
    EndpointSlice,
    Endpoints,
    HorizontalPodAutoscaler,
    Lease,
    Namespace,
    Node,
    PersistentVolume,
    PersistentVolumeClaim,
    Pod,
    PodDisruptionBudget,
    ReplicaSet,
    ReplicationController,
    ResourceQuota,
    Service,
    ServiceAccount,
    StatefulSet,
    StorageClass,
);

/// The shared parts of all loops.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) options: Options,
    pub(crate) recorder: Recorder,
    pub(crate) pods: Arc<Cache<Pod>>,
    pub(crate) replica_sets: Arc<Cache<ReplicaSet>>,
    pub(crate) replication_controllers: Arc<Cache<ReplicationController>>,
    pub(crate) deployments: Arc<Cache<Deployment>>,
    pub(crate) stateful_sets: Arc<Cache<StatefulSet>>,
    pub(crate) daemon_sets: Arc<Cache<DaemonSet>>,
    pub(crate) controller_revisions: Arc<Cache<ControllerRevision>>,
    pub(crate) claims: Arc<Cache<PersistentVolumeClaim>>,
    pub(crate) nodes: Arc<Cache<Node>>,
    pub(crate) volumes: Arc<Cache<PersistentVolume>>,
    pub(crate) storage_classes: Arc<Cache<StorageClass>>,
    pub(crate) budgets: Arc<Cache<PodDisruptionBudget>>,
    pub(crate) services: Arc<Cache<Service>>,
    pub(crate) endpoints: Arc<Cache<Endpoints>>,
    pub(crate) endpoint_slices: Arc<Cache<EndpointSlice>>,
    pub(crate) namespaces: Arc<Cache<Namespace>>,
    pub(crate) service_accounts: Arc<Cache<ServiceAccount>>,
    /// Those named [`ROOT_CA_CONFIG_MAP`] alone.
    pub(crate) root_ca_config_maps: Arc<Cache<ConfigMap>>,
    pub(crate) leases: Arc<Cache<Lease>>,
    pub(crate) autoscalers: Arc<Cache<HorizontalPodAutoscaler>>,
    pub(crate) quotas: Arc<Cache<ResourceQuota>>,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("options", &self.options).finish_non_exhaustive()
    }
}

/// By owner, or by namespace where nobody owns it.
fn by_controller(meta: &ObjectMeta) -> Index {
    match owner::controller_uid(meta) {
        Some(uid) => Index::Owner(uid.to_owned()),
        None => Index::Orphan(owner::namespace(meta).to_owned()),
    }
}

fn index_pod(pod: &Pod) -> Vec<Index> {
    let mut indices = vec![by_controller(&pod.metadata), Index::Namespace(owner::namespace(&pod.metadata).to_owned())];
    indices.extend(replica::node_name(pod).map(|node| Index::Node(node.to_owned())));
    indices
}

/// By the first pair of its selector: every pod that it selects has it.
fn index_service(service: &Service) -> Vec<Index> {
    let pair = service.spec.as_ref().and_then(|spec| spec.selector.as_ref()?.first_key_value());
    let namespace = owner::namespace(&service.metadata);
    pair.map(|(name, value)| Index::selects(namespace, name, value)).into_iter().collect()
}

fn index_slice(slice: &EndpointSlice) -> Vec<Index> {
    let service = slice.metadata.labels.as_ref().and_then(|labels| labels.get(LABEL_SERVICE_NAME));
    service.map(|name| Index::Service(key(owner::namespace(&slice.metadata), name).to_string())).into_iter().collect()
}

impl Context {
    pub(crate) fn new(client: Client, options: Options, recorder: Recorder) -> Arc<Self> {
        let by_owner: Indexer<ReplicaSet> = |replica_set| vec![by_controller(&replica_set.metadata)];
        let by_namespace: Indexer<Deployment> =
            |deployment| vec![Index::Namespace(owner::namespace(&deployment.metadata).to_owned())];
        Arc::new(Self {
            client,
            options,
            recorder,
            pods: Cache::new(index_pod),
            replica_sets: Cache::new(by_owner),
            replication_controllers: Cache::new(|_| Vec::new()),
            deployments: Cache::new(by_namespace),
            stateful_sets: Cache::new(|_| Vec::new()),
            daemon_sets: Cache::new(|_| Vec::new()),
            controller_revisions: Cache::new(|revision| vec![by_controller(&revision.metadata)]),
            claims: Cache::new(|claim| vec![Index::Namespace(owner::namespace(&claim.metadata).to_owned())]),
            nodes: Cache::new(|_| Vec::new()),
            volumes: Cache::new(|_| Vec::new()),
            storage_classes: Cache::new(|_| Vec::new()),
            budgets: Cache::new(|budget| vec![Index::Namespace(owner::namespace(&budget.metadata).to_owned())]),
            services: Cache::new(index_service),
            endpoints: Cache::new(|_| Vec::new()),
            endpoint_slices: Cache::new(index_slice),
            namespaces: Cache::new(|_| Vec::new()),
            service_accounts: Cache::new(|_| Vec::new()),
            root_ca_config_maps: Cache::new(|_| Vec::new()),
            leases: Cache::new(|_| Vec::new()),
            autoscalers: Cache::new(|_| Vec::new()),
            quotas: Cache::new(|quota| vec![Index::Namespace(owner::namespace(&quota.metadata).to_owned())]),
        })
    }

    /// The same for a loop that writes with another client.
    pub(crate) fn with_client(&self, client: Client) -> Arc<Self> {
        Arc::new(Self { client, ..self.clone() })
    }

    /// Starts every watch. Listeners must be in place.
    pub(crate) fn watch(&self, tasks: &mut JoinSet<()>, stop: &CancellationToken) {
        self.fill(tasks, &self.pods, "", stop);
        self.fill(tasks, &self.replica_sets, "", stop);
        self.fill(tasks, &self.replication_controllers, "", stop);
        self.fill(tasks, &self.deployments, "", stop);
        self.fill(tasks, &self.stateful_sets, "", stop);
        self.fill(tasks, &self.daemon_sets, "", stop);
        self.fill(tasks, &self.controller_revisions, "", stop);
        self.fill(tasks, &self.claims, "", stop);
        self.fill(tasks, &self.nodes, "", stop);
        self.fill(tasks, &self.volumes, "", stop);
        self.fill(tasks, &self.storage_classes, "", stop);
        self.fill(tasks, &self.budgets, "", stop);
        self.fill(tasks, &self.services, "", stop);
        self.fill(tasks, &self.endpoints, "", stop);
        self.fill(tasks, &self.endpoint_slices, "", stop);
        self.fill(tasks, &self.namespaces, "", stop);
        self.fill(tasks, &self.service_accounts, "", stop);
        self.fill(tasks, &self.root_ca_config_maps, "metadata.name=kube-root-ca.crt", stop);
        self.fill(tasks, &self.leases, "", stop);
        self.fill(tasks, &self.autoscalers, "", stop);
        self.fill(tasks, &self.quotas, "", stop);
    }

    fn fill<K>(&self, tasks: &mut JoinSet<()>, cache: &Arc<Cache<K>>, fields: &'static str, stop: &CancellationToken)
    where
        K: Object + kube::Resource<DynamicType = ()>,
    {
        let source = Source { client: self.client.clone(), path: api::collection::<K>(None), fields, metadata_only: false };
        tasks.spawn(Arc::clone(cache).fill(source, stop.clone()));
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.options.clock)()
    }

    /// What is left to do after a pass that worked and wants another look at that time.
    pub(crate) fn wake(&self, at: Option<Timestamp>) -> Next {
        at.map_or(Next::Wait, |at| {
            let pause = Duration::try_from(at.duration_since(self.now())).unwrap_or_default();
            // A timer may fire a moment early by the clock that the decision is made by.
            Next::After(pause + Duration::from_millis(1))
        })
    }

    /// The name that an API server would make of the object's `generateName`: made here, so that it is known whatever becomes of the
    /// answer.
    pub(crate) fn generated_name(&self, meta: &ObjectMeta) -> String {
        let prefix = meta.generate_name.as_deref().unwrap_or_default();
        let end = prefix.char_indices().nth(MAX_GENERATED_BASE).map_or(prefix.len(), |(index, _)| index);
        format!("{}{}", &prefix[..end], self.suffix())
    }

    /// Five letters for the end of a name, in the alphabet that upstream uses.
    fn suffix(&self) -> String {
        const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
        let mut bits = (self.options.chance)();
        let letter = |_| {
            let letter = LETTERS[usize::try_from(bits % 27).unwrap_or(0)];
            bits /= 27;
            char::from(letter)
        };
        (0..5).map(letter).collect()
    }
}

/// What a pass came to, as the queue wants it; failures are logged here, once, for all loops.
pub(crate) fn settle(what: &str, key: &str, outcome: Result<Next, api::Error>) -> Next {
    match outcome {
        Ok(next) => next,
        Err(error) if error.is_conflict() || error.is_not_found() => {
            tracing::debug!(what, key, %error, "somebody else was faster");
            Next::Failed
        }
        Err(error) => {
            tracing::warn!(what, key, %error, "a pass failed and will be repeated");
            Next::Failed
        }
    }
}
