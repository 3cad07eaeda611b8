//! Before a container is stopped: no new work comes any more, and what is under way has ended or had its time.

use std::{path::Path, sync::Arc, time::Duration};

use http::Method;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use serde_json::json;
use tokio::{sync::watch, time::timeout};
use windlass_api::names::CONDITION_UNROUTED;
use windlass_planner::pod::{conditions, stop::Deadlines};

use super::operation::Scope;
use crate::{
    api,
    pod::{name, namespace, uid},
};

/// Between two looks at the pod's connections. The kernel tells nobody when one ends.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Looks in a row that find none. A connection may be on its way when the last route goes: the kernel has chosen the pod, and on a
/// busy machine the packet reaches it some milliseconds later, where nothing must have closed the port by then.
const QUIET_LOOKS: u32 = 2;

/// Asks for a pod that stays to be taken out of every route; that it is not ready has been said before, or is about to be.
///
/// The question is a condition of the pod: `False` here, `True` by whoever routes once no route leads there, and away with the
/// status that calls the pod ready again. So the answer to an old question is never taken for one to a new.
pub(crate) async fn ask(scope: &Scope, mut said: watch::Receiver<Arc<PodStatus>>, deadlines: &Deadlines) {
    let asked = async {
        // A status that still says ready would take the question back.
        let _ = said.wait_for(|status| !conditions::is_true(Some(status), "Ready")).await;
        let pod = &scope.pod;
        let path = format!("/api/v1/namespaces/{}/pods/{}/status", namespace(pod), name(pod));
        let condition = json!({
            "type": CONDITION_UNROUTED,
            "status": "False",
            "reason": "Stopping",
            "message": "a container is to be stopped",
            "lastTransitionTime": api::seconds(Timestamp::now()),
        });
        let patch = json!({ "metadata": { "uid": uid(pod) }, "status": { "conditions": [condition] } });
        if let Err(error) = api::send(&scope.kubelet.client, Method::PATCH, &path, api::STRATEGIC, &patch).await {
            tracing::debug!(%error, path, "asking for a pod to be taken out of its routes");
        }
    };
    let _ = timeout(until(deadlines.unrouted), asked).await;
}

/// Waits until no route leads to the pod.
pub(crate) async fn unrouted(mut pod: watch::Receiver<Arc<Pod>>, deadlines: &Deadlines) {
    let gone = pod.wait_for(|pod| conditions::is_true(pod.status.as_ref(), CONDITION_UNROUTED));
    let _ = timeout(until(deadlines.unrouted), gone).await;
}

/// Waits until the pod serves no connection any more.
pub(crate) async fn drained(scope: &Scope, netns: Option<&Path>, deadlines: &Deadlines) {
    let Some(netns) = netns else { return };
    let idle = async {
        let mut quiet = 0;
        // What cannot be counted is not waited for.
        while let Ok(connections) = scope.kubelet.network.connections(netns).await {
            quiet = if connections == 0 { quiet + 1 } else { 0 };
            if quiet == QUIET_LOOKS {
                return;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    let _ = timeout(until(deadlines.drained), idle).await;
}

/// The time that is left until `deadline`.
pub(crate) fn until(deadline: Timestamp) -> Duration {
    Duration::try_from(deadline.duration_since(Timestamp::now())).unwrap_or_default()
}
