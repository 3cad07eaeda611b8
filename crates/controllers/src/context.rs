//! What every loop shares: the client, the clock, the caches, and a voice.

use std::{fmt, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet},
        core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod},
        storage::v1::StorageClass,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::Client;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use windlass_planner::{owner, replica};

use crate::{
    api,
    cache::{Cache, Index, Indexer, Object, Source},
    event::Recorder,
    options::Options,
    queue::Next,
};

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
    ControllerRevision,
    DaemonSet,
    Deployment,
    Node,
    PersistentVolume,
    PersistentVolumeClaim,
    Pod,
    ReplicaSet,
    StatefulSet,
    StorageClass
);

/// The shared parts of all loops.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) options: Options,
    pub(crate) recorder: Recorder,
    pub(crate) pods: Arc<Cache<Pod>>,
    pub(crate) replica_sets: Arc<Cache<ReplicaSet>>,
    pub(crate) deployments: Arc<Cache<Deployment>>,
    pub(crate) stateful_sets: Arc<Cache<StatefulSet>>,
    pub(crate) daemon_sets: Arc<Cache<DaemonSet>>,
    pub(crate) controller_revisions: Arc<Cache<ControllerRevision>>,
    pub(crate) claims: Arc<Cache<PersistentVolumeClaim>>,
    pub(crate) nodes: Arc<Cache<Node>>,
    pub(crate) volumes: Arc<Cache<PersistentVolume>>,
    pub(crate) storage_classes: Arc<Cache<StorageClass>>,
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
            deployments: Cache::new(by_namespace),
            stateful_sets: Cache::new(|_| Vec::new()),
            daemon_sets: Cache::new(|_| Vec::new()),
            controller_revisions: Cache::new(|revision| vec![by_controller(&revision.metadata)]),
            claims: Cache::new(|claim| vec![Index::Namespace(owner::namespace(&claim.metadata).to_owned())]),
            nodes: Cache::new(|_| Vec::new()),
            volumes: Cache::new(|_| Vec::new()),
            storage_classes: Cache::new(|_| Vec::new()),
        })
    }

    /// Starts every watch. Listeners must be in place.
    pub(crate) fn watch(&self, tasks: &mut JoinSet<()>, stop: &CancellationToken) {
        self.fill(tasks, &self.pods, "", stop);
        self.fill(tasks, &self.replica_sets, "", stop);
        self.fill(tasks, &self.deployments, "", stop);
        self.fill(tasks, &self.stateful_sets, "", stop);
        self.fill(tasks, &self.daemon_sets, "", stop);
        self.fill(tasks, &self.controller_revisions, "", stop);
        self.fill(tasks, &self.claims, "", stop);
        self.fill(tasks, &self.nodes, "", stop);
        self.fill(tasks, &self.volumes, "", stop);
        self.fill(tasks, &self.storage_classes, "", stop);
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

    /// Five letters for the end of a name, in the alphabet that upstream uses.
    pub(crate) fn suffix(&self) -> String {
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
