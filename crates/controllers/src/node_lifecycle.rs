//! Nodes: who has gone silent, and which taints follow.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Node, NodeCondition, Pod},
    apimachinery::pkg::apis::meta::v1::{MicroTime, Time},
};
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use windlass_planner::{
    node_lifecycle::{self, Health, READY},
    note::Note,
    owner,
};

use crate::{
    api::{self, Error},
    cache::{Index, Key},
    context::{Context, settle},
    marks::{Mark, Marks},
    queue::{Next, Queue},
};

const COMPONENT: &str = "node-controller";
/// Nodes worked on at once.
const PARALLEL: usize = 8;
/// Where kubelets renew their Leases.
const LEASES: &str = "kube-node-lease";

/// The last sign of life of a node, and when it was seen here: by this clock, not by the node's.
#[derive(Debug, Clone, PartialEq)]
struct Sign {
    renewed: Option<MicroTime>,
    heartbeat: Option<Time>,
    seen: Timestamp,
}

struct Loop {
    context: Arc<Context>,
    marks: Marks,
    signs: Mutex<BTreeMap<Key, Sign>>,
}

/// Starts the loop and its listener.
pub(crate) fn start(context: &Arc<Context>, tasks: &mut JoinSet<()>, stop: &CancellationToken) {
    let queue: Arc<Queue<Key>> = Queue::new();
    let by_node = Arc::clone(&queue);
    context.nodes.listen(move |old, new| by_node.add(owner::name(&new.or(old).expect("a change has a side").metadata).into()));
    let this = Arc::new(Loop { context: Arc::clone(context), marks: Marks::default(), signs: Mutex::default() });
    let by_lease = Arc::clone(&this);
    context.leases.listen(move |_, new| {
        if let Some(lease) = new.filter(|lease| owner::namespace(&lease.metadata) == LEASES) {
            by_lease.renew(owner::name(&lease.metadata), lease.spec.as_ref().and_then(|spec| spec.renew_time.clone()));
        }
    });
    tasks.spawn(queue.work(PARALLEL, stop.clone(), move |name| {
        let this = Arc::clone(&this);
        async move { settle("node", &name, this.pass(&name).await) }
    }));
}

fn ready(node: &Node) -> Option<&NodeCondition> {
    node.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == READY)
}

impl Loop {
    fn signs(&self) -> MutexGuard<'_, BTreeMap<Key, Sign>> {
        self.signs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn pass(&self, name: &Key) -> Result<Next, Error> {
        let context = &self.context;
        let mut mark = self.marks.get(name);
        context.nodes.reached(mark.own).await;
        context.leases.reached(0).await;
        let Some(node) = context.nodes.get(name) else {
            self.marks.set(name, Mark::default());
            self.signs().remove(name);
            return Ok(Next::Wait);
        };
        let seen = self.last_seen(name, &node);
        let mut wake_at = None;
        match node_lifecycle::health(&node, seen, context.options.node_grace, context.now()) {
            Health::Heard { until } => wake_at = Some(until),
            Health::KnownSilent => self.mark_pods_not_ready(name).await?,
            Health::Silent { conditions } => {
                // Only of the node that was judged: one that came back at this instant has just said how it is, and does not say so again.
                let change = json!({
                    "metadata": {"uid": node.metadata.uid, "resourceVersion": node.metadata.resource_version},
                    "status": {"conditions": conditions}
                });
                mark.own(&api::merge_status::<Node>(&context.client, &node.metadata, &change).await?);
                self.marks.set(name, mark);
                self.tell::<Node>(
                    &node.metadata,
                    Note::normal("NodeNotReady", format!("Node {name} status is now: NodeNotReady")),
                );
                return Ok(Next::Again);
            }
        }
        if let Some(taints) = node_lifecycle::taints(&node, context.now()) {
            let change = json!({
                "metadata": {"uid": node.metadata.uid, "resourceVersion": node.metadata.resource_version},
                "spec": {"taints": taints}
            });
            mark.own(&api::merge::<Node>(&context.client, &node.metadata, &change).await?);
            self.marks.set(name, mark);
        }
        Ok(context.wake(wake_at))
    }

    /// A Lease has changed: its node lives, by this clock.
    fn renew(&self, name: &str, renewed: Option<MicroTime>) {
        let seen = self.context.now();
        let mut signs = self.signs();
        let sign = signs.entry(name.into()).or_insert_with(|| Sign { renewed: None, heartbeat: None, seen });
        if sign.renewed != renewed {
            *sign = Sign { renewed, seen, heartbeat: sign.heartbeat.take() };
        }
    }

    /// When the node last gave a sign of life; one that gives none counts from the first look.
    fn last_seen(&self, name: &Key, node: &Node) -> Timestamp {
        let heartbeat = ready(node).and_then(|ready| ready.last_heartbeat_time.clone());
        let seen = self.context.now();
        let mut signs = self.signs();
        let sign = signs.entry(Key::clone(name)).or_insert_with(|| Sign { renewed: None, heartbeat: heartbeat.clone(), seen });
        if sign.heartbeat != heartbeat {
            *sign = Sign { heartbeat, seen, renewed: sign.renewed.take() };
        }
        sign.seen
    }

    /// Nobody can tell how the pods of a silent node are: they are not to be sent requests.
    async fn mark_pods_not_ready(&self, node: &str) -> Result<(), Error> {
        let context = &self.context;
        context.pods.reached(0).await;
        for pod in context.pods.under(&Index::Node(node.to_owned())) {
            let Some(condition) = node_lifecycle::not_ready_condition(&pod, context.now()) else { continue };
            let change = json!({"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [condition]}});
            match api::merge_status::<Pod>(&context.client, &pod.metadata, &change).await {
                Err(error) if !error.is_not_found() => return Err(error),
                _ => self.tell::<Pod>(&pod.metadata, Note::warning("NodeNotReady", "Node is not ready")),
            }
        }
        Ok(())
    }

    fn tell<K: k8s_openapi::Resource>(&self, about: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta, note: Note) {
        self.context.recorder.tell::<K>(COMPONENT, about, note);
    }
}
