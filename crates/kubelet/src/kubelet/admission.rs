//! Whether this machine runs a pod that is new to it.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api,
    runtime::{WatchStreamExt as _, watcher},
};
use windlass_planner::{
    pod::admission,
    schedule::{self, Cluster, Refusal},
};

use super::Kubelet;
use crate::pod::{Handle, has_ended};

impl Kubelet {
    /// Keeps at hand what the API says of the node: labels and taints are for others to write, and no pod waits for a question.
    pub(super) async fn follow_node(&self) {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let mut seen = std::pin::pin!(watcher::watch_object(nodes, &self.options.node_name).default_backoff());
        while let Some(seen) = seen.next().await {
            match seen {
                Ok(node) => *self.node.lock().unwrap_or_else(PoisonError::into_inner) = node.map(Arc::new),
                Err(error) => tracing::debug!(%error, "watching the node"),
            }
        }
    }

    /// Why the pod is not run here. What runs, or has been taken on before, stays: nothing is asked about it again.
    pub(super) fn refusal(&self, handles: &HashMap<String, Handle>, pod: &Pod) -> Option<Refusal> {
        let was_taken = pod.status.as_ref().is_some_and(|status| status.start_time.is_some() || has_ended(status));
        if was_taken || pod.metadata.deletion_timestamp.is_some() {
            return None;
        }
        if let Some(refusal) = admission::refusal(pod) {
            return Some(refusal);
        }
        // A node that nothing is known of says nothing against the pod.
        let node = self.node.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        let (mut cluster, name) = (Cluster::default(), &self.options.node_name);
        cluster.set_node(node);
        for handle in handles.values().filter(|handle| handle.takes_room()) {
            cluster.place(handle.granted(), name);
        }
        schedule::refusal(&cluster, name, pod)
    }
}
