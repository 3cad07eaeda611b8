//! The loop over pods that are said to be about to be disrupted: who said so may have died before deleting them.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use windlass_planner::{disruption, seconds};

use crate::{
    api::{self, Error},
    cache::{Key, key_of},
    context::{Context, settle},
    queue::{Next, Queue},
};

/// Pods worked on at once.
const PARALLEL: usize = 4;

/// Starts the loop and its listener.
pub(crate) fn start(context: &Arc<Context>, tasks: &mut JoinSet<()>, stop: &CancellationToken) {
    let queue: Arc<Queue<Key>> = Queue::new();
    let by_pod = Arc::clone(&queue);
    context.pods.listen(move |_, new| {
        let told = new.filter(|pod| disruption::stale_at(pod).is_some());
        told.into_iter().for_each(|pod| by_pod.add(key_of(&pod.metadata)));
    });
    let context = Arc::clone(context);
    tasks.spawn(queue.work(PARALLEL, stop.clone(), move |pod| {
        let context = Arc::clone(&context);
        async move { settle("disruption-target", &pod, pass(&context, &pod).await) }
    }));
}

async fn pass(context: &Context, key: &Key) -> Result<Next, Error> {
    let Some(pod) = context.pods.get(key) else { return Ok(Next::Wait) };
    let now = context.now();
    match disruption::stale_at(&pod) {
        None => return Ok(Next::Wait),
        Some(at) if at > now => return Ok(context.wake(Some(at))),
        Some(_) => {}
    }
    // Said of what was looked at: a disruption that is announced meanwhile is a conflict, and looked at again.
    let meta = &pod.metadata;
    let change = json!({
        "metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version},
        "status": {"conditions": [{
            "type": "DisruptionTarget", "status": "False", "reason": null, "message": null, "lastTransitionTime": seconds(now)
        }]}
    });
    match api::merge_status::<Pod>(&context.client, meta, &change).await {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(Next::Wait),
    }
}
