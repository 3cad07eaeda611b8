//! The scheduler: one pod at a time is decided, many are bound at once.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use windlass_planner::{
    note::Note,
    owner, replica,
    schedule::{self, Cluster, DEFAULT_SCHEDULER, Decision, PodVolumes, Storage},
    seconds,
    volume::{SELECTED_NODE, claims_of},
};

use crate::{
    api::{self, Error},
    cache::{Index, Key, key_of},
    context::{Context, settle},
    queue::{Next, Queue},
};

/// Bindings under way at once; the store commits as many together.
const PARALLEL: usize = 64;
/// How long changes gather before pods that did not fit are tried again: one look for a burst of deletions.
const GATHER: Duration = Duration::from_millis(10);
/// A pod that nothing has moved is tried again after this long. Upstream's figure.
const FLUSH: Duration = Duration::from_secs(300);

struct Loop {
    context: Arc<Context>,
    /// What is placed where, bindings under way included.
    cluster: Mutex<Cluster>,
    /// Pods that did not fit, with the reason that was last told.
    parked: Mutex<BTreeMap<Key, String>>,
    /// Pods that have a place and wait there for their volumes, with the node.
    reserved: Mutex<BTreeMap<Key, Reserved>>,
}

/// A place that is kept for a pod.
#[derive(Debug, Clone)]
struct Reserved {
    uid: String,
    node: String,
}

/// Starts the loop and its listeners.
pub(crate) fn start(context: &Arc<Context>, tasks: &mut JoinSet<()>, stop: &CancellationToken) {
    let queue: Arc<Queue<Key>> = Queue::new();
    let this = Arc::new(Loop {
        context: Arc::clone(context),
        cluster: Mutex::new(Cluster::default()),
        parked: Mutex::new(BTreeMap::new()),
        reserved: Mutex::new(BTreeMap::new()),
    });
    let (shared, nodes) = (Arc::clone(&this), Arc::clone(&queue));
    context.nodes.listen(move |old, new| {
        let moved = match (old, new) {
            (_, Some(node)) => shared.cluster().set_node(Arc::clone(node)),
            (Some(node), None) => {
                shared.cluster().remove_node(owner::name(&node.metadata));
                true
            }
            (None, None) => false,
        };
        if moved {
            shared.try_parked(&nodes);
        }
    });
    let (shared, pods) = (Arc::clone(&this), Arc::clone(&queue));
    context.pods.listen(move |old, new| shared.follow_pod(old, new, &pods));
    listen_to_storage(&this, &queue);
    tasks.spawn(queue.work(PARALLEL, stop.clone(), move |key| {
        let this = Arc::clone(&this);
        async move { settle("scheduler", &key, this.pass(&key).await) }
    }));
}

/// Whatever changes about claims, volumes and classes may be what a pod waits for.
fn listen_to_storage(this: &Arc<Loop>, queue: &Arc<Queue<Key>>) {
    let context = &this.context;
    let (shared, by_claim) = (Arc::clone(this), Arc::clone(queue));
    context.claims.listen(move |_, _| shared.try_waiting(&by_claim));
    let (shared, by_volume) = (Arc::clone(this), Arc::clone(queue));
    context.volumes.listen(move |_, _| shared.try_waiting(&by_volume));
    let (shared, by_class) = (Arc::clone(this), Arc::clone(queue));
    context.storage_classes.listen(move |_, _| shared.try_waiting(&by_class));
}

impl Loop {
    fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn parked(&self) -> MutexGuard<'_, BTreeMap<Key, String>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reserved(&self) -> MutexGuard<'_, BTreeMap<Key, Reserved>> {
        self.reserved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn follow_pod(&self, old: Option<&Arc<Pod>>, new: Option<&Arc<Pod>>, queue: &Queue<Key>) {
        let freed = match (old, new) {
            (_, Some(pod)) if replica::is_finished(pod) => self.cluster().remove(owner::uid(&pod.metadata)),
            (old, Some(pod)) => {
                if let Some(node) = replica::node_name(pod) {
                    self.cluster().place(Arc::clone(pod), node);
                } else if schedule::is_waiting(pod) {
                    queue.add(key_of(&pod.metadata));
                }
                // A pod on its way out no longer counts where pods are spread.
                let was_active = old.is_some_and(|old| old.metadata.deletion_timestamp.is_none());
                was_active && pod.metadata.deletion_timestamp.is_some()
            }
            (Some(pod), None) => {
                self.parked().remove(&key_of(&pod.metadata));
                self.reserved().remove(&key_of(&pod.metadata));
                self.cluster().remove(owner::uid(&pod.metadata))
            }
            (None, None) => false,
        };
        if freed {
            self.try_parked(queue);
        }
    }

    /// Something has changed that may make room.
    fn try_parked(&self, queue: &Queue<Key>) {
        for key in self.parked().keys() {
            queue.add_after(Key::clone(key), GATHER);
        }
    }

    /// Pods that wait for a place, or at their place for their volumes.
    fn try_waiting(&self, queue: &Queue<Key>) {
        self.reserved().keys().for_each(|key| queue.add(Key::clone(key)));
        self.try_parked(queue);
    }

    async fn pass(&self, key: &Key) -> Result<Next, Error> {
        let context = &self.context;
        context.nodes.reached(0).await;
        context.pods.reached(0).await;
        let pod = context.pods.get(key).filter(|pod| schedule::is_waiting(pod));
        self.give_up_unless(key, pod.as_deref());
        let Some(pod) = pod else {
            self.parked().remove(key);
            return Ok(Next::Wait);
        };
        let volumes = self.volumes_of(&pod).await;
        let place = self.reserved().get(key).map(|place| place.node.clone());
        if let Some(node) = place {
            return self.settle_volumes(key, &pod, &node, &volumes).await;
        }
        match self.decide(&pod, &volumes) {
            None => Ok(Next::Wait),
            Some(Decision::Bind { node, .. }) => {
                self.parked().remove(key);
                self.settle_volumes(key, &pod, &node, &volumes).await
            }
            Some(Decision::Unschedulable(why)) => self.park(key, &pod, why.message()).await,
        }
    }

    /// Frees the place of a pod that is gone or is another one of that name by now.
    fn give_up_unless(&self, key: &Key, pod: Option<&Pod>) {
        let mut reserved = self.reserved();
        let stale = reserved.get(key).filter(|place| pod.is_none_or(|pod| owner::uid(&pod.metadata) != place.uid));
        if let Some(uid) = stale.map(|place| place.uid.clone()) {
            reserved.remove(key);
            let bound =
                self.context.pods.get(key).is_some_and(|pod| owner::uid(&pod.metadata) == uid && replica::is_active(&pod));
            if !bound {
                self.cluster().remove(&uid);
            }
        }
    }

    /// The volumes of the pod as they are now; most pods have none, and cost nothing here.
    async fn volumes_of(&self, pod: &Pod) -> PodVolumes {
        if claims_of(pod).next().is_none() {
            return PodVolumes::default();
        }
        let context = &self.context;
        context.claims.reached(0).await;
        context.volumes.reached(0).await;
        context.storage_classes.reached(0).await;
        let claims = context.claims.under(&Index::Namespace(owner::namespace(&pod.metadata).to_owned()));
        let (volumes, classes) = (context.volumes.all(), context.storage_classes.all());
        PodVolumes::of(pod, &Storage { claims: &claims, volumes: &volumes, classes: &classes })
    }

    /// Binds the pod once its volumes are bound; until then it keeps its place, and its claims are told where that is.
    async fn settle_volumes(&self, key: &Key, pod: &Pod, node: &str, volumes: &PodVolumes) -> Result<Next, Error> {
        if volumes.are_bound() {
            self.reserved().remove(key);
            return self.bind(pod, node).await;
        }
        let uid = owner::uid(&pod.metadata).to_owned();
        let known = self.reserved().insert(Key::clone(key), Reserved { uid: uid.clone(), node: node.to_owned() }).is_some();
        if known && (volumes.refusal().is_some() || volumes.undecided().next().is_some()) {
            // A claim was deleted, or its volume taken by another: the place is worth nothing.
            self.reserved().remove(key);
            self.cluster().remove(&uid);
            return Ok(Next::Again);
        }
        for claim in volumes.undecided() {
            let change = json!({"metadata": {
                "uid": claim.metadata.uid, "resourceVersion": claim.metadata.resource_version, "annotations": {SELECTED_NODE: node}
            }});
            let told = api::merge::<PersistentVolumeClaim>(&self.context.client, &claim.metadata, &change).await;
            match told {
                Ok(written) => self.context.claims.reached(written.revision).await,
                Err(error) => {
                    self.reserved().remove(key);
                    self.cluster().remove(&uid);
                    return Err(error);
                }
            }
        }
        Ok(Next::After(FLUSH))
    }

    /// Decides, and takes the place at once so that the next decision counts with it. `None` if the pod has a place.
    fn decide(&self, pod: &Arc<Pod>, volumes: &PodVolumes) -> Option<Decision> {
        let mut cluster = self.cluster();
        if cluster.is_placed(owner::uid(&pod.metadata)) {
            return None;
        }
        let decision = schedule::decide(&cluster, pod, volumes);
        if let Decision::Bind { node, .. } = &decision {
            cluster.place(Arc::clone(pod), node);
        }
        Some(decision)
    }

    async fn bind(&self, pod: &Pod, node: &str) -> Result<Next, Error> {
        let meta = &pod.metadata;
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding",
            "metadata": {"name": meta.name, "namespace": meta.namespace, "uid": meta.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node}
        });
        // The kubelet may have told of its first steps before the answer is here; being bound comes before them all.
        let bound = self.context.recorder.moment();
        let outcome = api::create_below::<Pod>(&self.context.client, meta, "binding", &binding).await;
        match outcome {
            Ok(_) => {
                let message = format!("Successfully assigned {}/{} to {node}", owner::namespace(meta), owner::name(meta));
                self.context.recorder.tell_of::<Pod>(bound, DEFAULT_SCHEDULER, meta, Note::normal("Scheduled", message));
                Ok(Next::Wait)
            }
            Err(error) => {
                self.cluster().remove(owner::uid(meta));
                if error.is_not_found() {
                    return Ok(Next::Wait);
                }
                self.tell(pod, Note::warning("FailedScheduling", format!("binding rejected: {error}")));
                Err(error)
            }
        }
    }

    /// Says why, once for each reason, and waits for something to change.
    async fn park(&self, key: &Key, pod: &Pod, message: String) -> Result<Next, Error> {
        let known = self.parked().insert(Key::clone(key), message.clone());
        let told = replica::condition(pod, "PodScheduled").is_some_and(|condition| condition.message.as_ref() == Some(&message));
        if !told {
            let change = unschedulable(pod, &message, self.context.now());
            api::merge_status::<Pod>(&self.context.client, &pod.metadata, &change).await?;
        }
        if known.as_ref() != Some(&message) {
            self.tell(pod, Note::warning("FailedScheduling", message));
        }
        Ok(Next::After(FLUSH))
    }

    fn tell(&self, pod: &Pod, note: Note) {
        self.context.recorder.tell::<Pod>(DEFAULT_SCHEDULER, &pod.metadata, note);
    }
}

fn unschedulable(pod: &Pod, message: &str, now: jiff::Timestamp) -> Value {
    let before = replica::condition(pod, "PodScheduled").filter(|condition| condition.status == "False");
    let since = before.and_then(|condition| condition.last_transition_time.clone()).unwrap_or_else(|| seconds(now));
    json!({
        "metadata": {"uid": pod.metadata.uid},
        "status": {"conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
            "lastProbeTime": null, "lastTransitionTime": since, "observedGeneration": pod.metadata.generation
        }]}
    })
}
