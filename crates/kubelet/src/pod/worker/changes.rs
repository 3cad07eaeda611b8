//! What the worker looks at again when the pod, or something that it refers to, has changed.

use std::sync::Arc;

use jiff::Timestamp;
use windlass_planner::pod::{Sandbox as SandboxState, backoff::Backoff};

use super::{Worker, hashes};
use crate::pod::objects::PodObjects;

impl Worker {
    pub(super) fn see_pod(&mut self) {
        let pod = self.granted_pod();
        let is_relabelled =
            pod.metadata.labels != self.pod.metadata.labels || pod.metadata.annotations != self.pod.metadata.annotations;
        let hashes = hashes(&pod);
        if hashes.len() != self.hashes.len() {
            // An ephemeral container came, which may refer to what no other does.
            self.objects = Arc::new(PodObjects::watch(&self.kubelet.objects, &pod));
        }
        for (name, known) in &mut self.observed.containers {
            if hashes.get(name) != self.hashes.get(name) {
                // Another container than the one that failed so often.
                known.backoff = Backoff::default();
                known.failure = None;
            }
        }
        (self.hashes, self.pod) = (hashes, pod);
        let is_resized = self.see_grant();
        self.status.insist(self.pod.status.as_ref());
        // Files may tell of either.
        if is_relabelled || is_resized {
            self.refresh();
        }
    }

    /// Something that the pod refers to changed: volumes follow, and what failed for want of it is tried again at once.
    pub(super) fn see_objects(&mut self) {
        let now = Timestamp::now();
        if let SandboxState::Failed { retry_at } = &mut self.observed.sandbox {
            *retry_at = now;
        }
        for known in self.observed.containers.values_mut() {
            if let Some(failure) = known.failure.as_mut().filter(|failure| failure.reason == "CreateContainerConfigError") {
                failure.retry_at = now;
            }
        }
        if self.is_refreshing {
            // It may have read the old content; once more when it is done.
            self.refresh_at = Some(now);
        }
        self.refresh();
    }
}
