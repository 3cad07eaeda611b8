//! Pods leave nodes whose NoExecute taints they do not tolerate, or no longer.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use windlass_planner::{
    node_lifecycle::{self, Stay},
    note::Note,
    owner, replica, seconds,
};

use crate::{
    api::{self, Deletion, Error},
    cache::{Index, Key, key_of},
    context::{Context, settle},
    queue::{Next, Queue},
};

const COMPONENT: &str = "taint-eviction-controller";
/// Pods worked on at once.
const PARALLEL: usize = 16;

/// Starts the loop and its listeners.
pub(crate) fn start(context: &Arc<Context>, tasks: &mut JoinSet<()>, stop: &CancellationToken) {
    let queue: Arc<Queue<Key>> = Queue::new();
    let (shared, by_node) = (Arc::clone(context), Arc::clone(&queue));
    context.nodes.listen(move |old, new| {
        let taints = |node: &Arc<Node>| node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
        let before = old.map(taints).unwrap_or_default();
        if let Some(node) = new.filter(|node| taints(node) != before) {
            for pod in shared.pods.under(&Index::Node(owner::name(&node.metadata).to_owned())) {
                by_node.add(key_of(&pod.metadata));
            }
        }
    });
    let (shared, by_pod) = (Arc::clone(context), Arc::clone(&queue));
    context.pods.listen(move |old, new| {
        let Some(pod) = new.filter(|pod| replica::is_active(pod)) else { return };
        let placed = |pod: &Arc<Pod>| {
            (replica::node_name(pod).map(str::to_owned), pod.spec.as_ref().and_then(|spec| spec.tolerations.clone()))
        };
        let moved = old.is_none_or(|old| !Arc::ptr_eq(old, pod) && placed(old) != placed(pod));
        let node = replica::node_name(pod).filter(|_| moved).and_then(|name| shared.nodes.get(name));
        if node.is_some_and(|node| node.spec.as_ref().is_some_and(|spec| spec.taints.is_some())) {
            by_pod.add(key_of(&pod.metadata));
        }
    });
    let context = Arc::clone(context);
    tasks.spawn(queue.work(PARALLEL, stop.clone(), move |key| {
        let context = Arc::clone(&context);
        async move { settle("eviction", &key, pass(&context, &key).await) }
    }));
}

async fn pass(context: &Context, key: &Key) -> Result<Next, Error> {
    context.nodes.reached(0).await;
    let Some(pod) = context.pods.get(key).filter(|pod| replica::is_active(pod)) else { return Ok(Next::Wait) };
    let Some(node) = replica::node_name(&pod).and_then(|name| context.nodes.get(name)) else { return Ok(Next::Wait) };
    match node_lifecycle::stay(&pod, &node, context.now()) {
        Stay::ForGood => Ok(Next::Wait),
        Stay::Until(until) => Ok(context.wake(Some(until))),
        Stay::Over => evict(context, &pod).await,
    }
}

async fn evict(context: &Context, pod: &Pod) -> Result<Next, Error> {
    let text = format!("Marking for deletion Pod {}/{}", owner::namespace(&pod.metadata), owner::name(&pod.metadata));
    context.recorder.tell::<Pod>(COMPONENT, &pod.metadata, Note::normal("TaintManagerEviction", text));
    let change = json!({"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [{
        "type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager",
        "message": "Taint manager: deleting due to NoExecute taint", "lastTransitionTime": seconds(context.now())
    }]}});
    let told = api::merge_status::<Pod>(&context.client, &pod.metadata, &change).await;
    let deleted = match told {
        Ok(_) => api::delete::<Pod>(&context.client, &pod.metadata, &Deletion::of(&pod.metadata)).await,
        Err(error) => Err(error),
    };
    match deleted {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(Next::Wait),
    }
}
