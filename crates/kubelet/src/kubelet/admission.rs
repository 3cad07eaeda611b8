//! Whether this machine runs a pod that is new to it.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod, PodStatus};
use kube::Api;
use windlass_planner::schedule::{self, Cluster, Refusal};

use super::Kubelet;

impl Kubelet {
    /// Why the pod is not run here. What runs, or has been taken on before, stays: nothing is asked about it again.
    pub(super) async fn refusal(&self, pod: &Pod) -> Option<Refusal> {
        let was_taken = pod.status.as_ref().is_some_and(|status| status.start_time.is_some() || has_ended(status));
        if was_taken || pod.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let nodes: Api<Node> = Api::all(self.client.clone());
        let name = &self.options.node_name;
        // A node that cannot be asked about says nothing against the pod.
        let node = nodes.get(name).await.ok()?;
        let mut cluster = Cluster::default();
        cluster.set_node(Arc::new(node));
        for handle in self.handles().values() {
            if !handle.is_refused && !has_ended(&handle.status.borrow()) {
                cluster.place(Arc::clone(&handle.pod.borrow()), name);
            }
        }
        schedule::refusal(&cluster, name, pod)
    }
}

fn has_ended(status: &PodStatus) -> bool {
    matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"))
}
