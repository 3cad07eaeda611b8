//! Tells pods that no route leads to them any more: the kubelet waits for that before it sends SIGTERM.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tracing::{debug, warn};
use windlass_api::names::CONDITION_UNROUTED;

use super::PodRef;

/// First pause after a failure; it doubles. After eight attempts, some five seconds, the kubelet has stopped waiting.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const ATTEMPTS: u32 = 8;

/// Whether a pod goes on after its route went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stays {
    /// It is to be deleted.
    No,
    /// One of its containers is to be stopped, and its kubelet takes the condition away afterwards.
    Yes,
}

/// Sets the condition, unless the pod is gone, or nobody asks any more.
pub(super) async fn acknowledge(client: Client, pod: PodRef, stays: Stays, now: Timestamp) {
    let api: Api<Pod> = Api::namespaced(client, &pod.namespace);
    let mut pause = FIRST_PAUSE;
    for _ in 0..ATTEMPTS {
        match attempt(&api, &pod, stays, now).await {
            Ok(()) => {
                debug!(pod = %format_args!("{}/{}", pod.namespace, pod.name), "out of every route");
                return;
            }
            // Somebody else wrote meanwhile: perhaps the kubelet, that the pod is ready again.
            Err(kube::Error::Api(status)) if stays == Stays::Yes && status.code == 409 => {}
            // Deleted, or another pod has its name: nobody waits.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409 | 422) => return,
            Err(error) => {
                warn!(pod = %format_args!("{}/{}", pod.namespace, pod.name), %error, "can't tell a pod that it is out of every route");
            }
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
}

async fn attempt(api: &Api<Pod>, pod: &PodRef, stays: Stays, now: Timestamp) -> Result<(), kube::Error> {
    let mut metadata = json!({ "uid": pod.uid });
    if stays == Stays::Yes {
        // A late answer would keep a pod out of its routes that is in them again: it is for the question it answers, or for nobody.
        let asks = api.get(&pod.name).await?;
        let mut conditions = asks.status.iter().flat_map(|status| status.conditions.iter().flatten());
        if !conditions.any(|condition| condition.type_ == CONDITION_UNROUTED && condition.status == "False") {
            return Ok(());
        }
        metadata["resourceVersion"] = json!(asks.metadata.resource_version);
    }
    let patch = Patch::Strategic(json!({
        "metadata": metadata,
        "status": { "conditions": [{
            "type": CONDITION_UNROUTED,
            "status": "True",
            "reason": "NoRoute",
            "message": "no Service leads to this pod any more",
            "lastTransitionTime": now,
        }] },
    }));
    api.patch_status(&pod.name, &PatchParams::default(), &patch).await.map(drop)
}
