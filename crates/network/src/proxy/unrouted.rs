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

/// Sets the condition, unless the pod is gone.
pub(super) async fn acknowledge(client: Client, pod: PodRef, now: Timestamp) {
    let api: Api<Pod> = Api::namespaced(client, &pod.namespace);
    let patch = Patch::Strategic(json!({
        "metadata": { "uid": pod.uid },
        "status": { "conditions": [{
            "type": CONDITION_UNROUTED,
            "status": "True",
            "reason": "NoRoute",
            "message": "no Service leads to this pod any more",
            "lastTransitionTime": now,
        }] },
    }));
    let mut pause = FIRST_PAUSE;
    for _ in 0..ATTEMPTS {
        match api.patch_status(&pod.name, &PatchParams::default(), &patch).await {
            Ok(_) => {
                debug!(pod = %format_args!("{}/{}", pod.namespace, pod.name), "out of every route");
                return;
            }
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
