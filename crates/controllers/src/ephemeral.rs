//! The loop over pods with generic ephemeral volumes: it makes their claims. With the pod they go by its ownership.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use windlass_planner::{note::Note, owner, volume};

use crate::{
    api::{self, Error},
    cache::{Index, Key, key_of},
    context::{Context, settle},
    queue::{Next, Queue},
};

const COMPONENT: &str = "ephemeral_volume";
/// Pods worked on at once.
const PARALLEL: usize = 8;

/// Starts the loop and its listeners.
pub(crate) fn start(context: &Arc<Context>, tasks: &mut JoinSet<()>, stop: &CancellationToken) {
    let queue: Arc<Queue<Key>> = Queue::new();
    let by_pod = Arc::clone(&queue);
    context.pods.listen(move |old, new| {
        // Volumes of a pod do not change; another pod may have taken its name.
        let is_known = |pod: &Pod| old.is_some_and(|old| old.metadata.uid == pod.metadata.uid);
        let fresh = new.filter(|pod| !is_known(pod) && volume::claims_of(pod).any(|(_, own)| own));
        fresh.into_iter().for_each(|pod| by_pod.add(key_of(&pod.metadata)));
    });
    let (pods, by_claim) = (Arc::clone(&context.pods), Arc::clone(&queue));
    context.claims.listen(move |old, new| {
        if let Some(gone) = old.filter(|_| new.is_none()) {
            let there = pods.under(&Index::Namespace(owner::namespace(&gone.metadata).to_owned()));
            there.iter().filter(|pod| owns(pod, gone)).for_each(|pod| by_claim.add(key_of(&pod.metadata)));
        }
    });
    let context = Arc::clone(context);
    tasks.spawn(queue.work(PARALLEL, stop.clone(), move |pod| {
        let context = Arc::clone(&context);
        async move { settle("ephemeral-volume", &pod, furnish(&context, &pod).await) }
    }));
}

/// Whether the claim has the name of one that is the pod's own.
fn owns(pod: &Pod, claim: &PersistentVolumeClaim) -> bool {
    volume::claims_of(pod).any(|(name, own)| own && name == owner::name(&claim.metadata))
}

async fn furnish(context: &Context, key: &Key) -> Result<Next, Error> {
    context.pods.reached(0).await;
    context.claims.reached(0).await;
    let Some(pod) = context.pods.get(key) else { return Ok(Next::Wait) };
    let tell = |note: Note| context.recorder.tell::<Pod>(COMPONENT, &pod.metadata, note);
    let claims = context.claims.under(&Index::Namespace(owner::namespace(&pod.metadata).to_owned()));
    let plan = volume::plan_ephemeral(&pod, &claims);
    for own in &plan.missing {
        if let Err(error) = api::create(&context.client, &own.claim).await {
            if error.is_namespace_terminating() {
                return Ok(Next::Wait);
            }
            // Perhaps ours, and not seen yet: whose it is is decided when it is.
            if error.is_already_exists() {
                return Ok(Next::Failed);
            }
            tell(own.refused(&error.to_string()));
            return Err(error);
        }
    }
    plan.note.into_iter().for_each(tell);
    Ok(Next::Wait)
}
