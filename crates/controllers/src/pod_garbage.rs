//! Pods that nobody else will finish.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use windlass_planner::{
    pod_garbage::{self, Reason, Step},
    replica, seconds,
};

use crate::{
    api::{self, Deletion, Error},
    context::{Context, settle},
    queue::{Next, Queue},
};

/// Pause between two looks at all pods. Upstream's figure.
const PERIOD: Duration = Duration::from_secs(20);
/// A node that is missing for this long is gone: one that is being replaced comes back before. Upstream's figure.
const QUARANTINE: SignedDuration = SignedDuration::from_secs(40);

struct Loop {
    context: Arc<Context>,
    /// Nodes that pods name and that are not there, with the time of the first look that missed them.
    missing: Mutex<BTreeMap<String, Timestamp>>,
}

/// Starts the loop.
pub(crate) fn start(context: &Arc<Context>, tasks: &mut JoinSet<()>, stop: &CancellationToken) {
    let queue: Arc<Queue<()>> = Queue::new();
    queue.add(());
    let this = Arc::new(Loop { context: Arc::clone(context), missing: Mutex::default() });
    tasks.spawn(queue.work(1, stop.clone(), move |()| {
        let this = Arc::clone(&this);
        async move { settle("podgc", "", this.pass().await) }
    }));
}

impl Loop {
    async fn pass(&self) -> Result<Next, Error> {
        let context = &self.context;
        context.pods.reached(0).await;
        context.nodes.reached(0).await;
        let pods = context.pods.all();
        let gone = self.gone(&pods).await?;
        for step in pod_garbage::plan(&pods, &gone, context.options.terminated_pods) {
            tracing::debug!(pod = step.pod.metadata.name, reason = ?step.reason, "pod is taken away");
            self.take(&step).await?;
        }
        Ok(Next::After(PERIOD))
    }

    /// Names of nodes that have been missing for a while, and that the API server does not know either.
    async fn gone(&self, pods: &[Arc<Pod>]) -> Result<BTreeSet<String>, Error> {
        let now = self.context.now();
        let named: BTreeSet<&str> = pods.iter().filter_map(|pod| replica::node_name(pod)).collect();
        let absent: BTreeSet<&str> = named.into_iter().filter(|name| self.context.nodes.get(name).is_none()).collect();
        let overdue: Vec<String> = {
            let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
            missing.retain(|name, _| absent.contains(name.as_str()));
            let since = absent.into_iter().map(|name| (name.to_owned(), *missing.entry(name.to_owned()).or_insert(now)));
            since.filter(|(_, since)| now.duration_since(*since) >= QUARANTINE).map(|(name, _)| name).collect()
        };
        let mut gone = BTreeSet::new();
        for name in overdue {
            let path = format!("{}/{name}", api::collection::<Node>(None));
            match api::get::<serde_json::Value>(&self.context.client, &path, "application/json").await {
                Ok(_) => {}
                Err(error) if error.is_not_found() => drop(gone.insert(name)),
                Err(error) => return Err(error),
            }
        }
        Ok(gone)
    }

    async fn take(&self, step: &Step) -> Result<(), Error> {
        let (client, meta) = (&self.context.client, &step.pod.metadata);
        if step.fail {
            let message = match step.reason {
                Reason::NodeGone => "PodGC: node no longer exists",
                Reason::NeverScheduled | Reason::TooManyFinished => "PodGC: pod was never scheduled",
            };
            let change = json!({"metadata": {"uid": meta.uid}, "status": {"phase": "Failed", "conditions": [{
                "type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC", "message": message,
                "lastTransitionTime": seconds(self.context.now())
            }]}});
            tolerate(api::merge_status::<Pod>(client, meta, &change).await)?;
        }
        tolerate(api::delete::<Pod>(client, meta, &Deletion { grace_period_seconds: Some(0), ..Deletion::of(meta) }).await)
    }
}

/// Somebody else was faster.
fn tolerate(outcome: Result<api::Written, Error>) -> Result<(), Error> {
    match outcome {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}
