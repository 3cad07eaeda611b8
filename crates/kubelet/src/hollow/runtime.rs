//! Pods whose class asks for a runtime that hollow nodes do not have: told, and tried again, as a kubelet does.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use tokio_util::task::TaskTracker;
use windlass_planner::pod::admission;

use super::{Hollow, pod::HollowPod};
use crate::{
    events::{Recorder, Type},
    pauses::Pauses,
    runtime_class,
};

impl Hollow {
    /// Waits for a runtime of the pod's class; false when the pod is not there any more to have it, or another task waits already.
    pub(super) async fn is_served(&self, pod: &HollowPod) -> bool {
        let Some(class) = pod.spec.runtime_class_name.as_deref() else { return true };
        let unserved = || self.unserved.lock().expect("nobody panics with it");
        if !unserved().insert(pod.uid().to_owned()) {
            return false;
        }
        let is_served = self.wait_for_runtime(pod, class).await;
        unserved().remove(pod.uid());
        is_served
    }

    /// Lasts as long as the pod does, at most.
    async fn wait_for_runtime(&self, pod: &HollowPod, class: &str) -> bool {
        let node = pod.spec.node_name.as_deref().unwrap_or_default();
        let mut events = None;
        let pods: Api<HollowPod> = Api::namespaced(self.client.clone(), pod.metadata.namespace.as_deref().unwrap_or("default"));
        let about = Pod { metadata: pod.metadata.clone(), ..Pod::default() };
        for pause in Pauses::default() {
            let handler = {
                let _permit = self.permit().await;
                runtime_class::handler(&self.client, Some(class)).await
            };
            let Some(why) = handler.map_or_else(Some, |handler| admission::runtime_refusal(&handler)) else { return true };
            let message = format!("Failed to create pod sandbox: {why}");
            let recorder = || Recorder::start(self.client.clone(), node, Arc::clone(&self.options.clock), &TaskTracker::new());
            events.get_or_insert_with(recorder).pod(&about, None, Type::Warning, "FailedCreatePodSandBox", message);
            tokio::time::sleep(pause).await;
            let is_waiting = |now: HollowPod| now.uid() == pod.uid() && now.metadata.deletion_timestamp.is_none();
            let _permit = self.permit().await;
            let found = pods.get_opt(about.metadata.name.as_deref().unwrap_or_default()).await;
            if found.is_ok_and(|now| !now.is_some_and(is_waiting)) {
                break;
            }
        }
        false
    }
}
