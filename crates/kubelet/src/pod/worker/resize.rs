//! Changes of the pod's resources while it runs: what was granted, what came of it, and what is said of it.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodStatus, ResourceRequirements};
use windlass_planner::pod::{
    Failure, conditions,
    resize::{Allocation, Pending, summary},
};

use super::Worker;
use crate::{
    events::Type,
    kubelet::Grant,
    pod::{container, has_ended, resize},
};

/// First pause after a container could not be given its resources; doubles to the longest.
const PAUSE: SignedDuration = SignedDuration::from_secs(10);
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_secs(300);

/// What the worker knows of changes of resources.
pub(super) struct Resizes {
    /// What was granted when it looked last.
    granted: Allocation,
    /// Generation of the pod whose wish is granted and not yet said to be fulfilled.
    under_way: Option<i64>,
    /// What was told of a wish that is not granted, and of which generation.
    told: Option<(Pending, Option<i64>)>,
}

impl Resizes {
    pub(super) fn new(grant: &Grant) -> Self {
        Self { granted: grant.allocation.clone(), under_way: None, told: None }
    }
}

impl Worker {
    /// The newest that the API has of the pod, as it was granted.
    pub(super) fn granted_pod(&mut self) -> Arc<Pod> {
        let pod = Arc::clone(&self.pod_changes.borrow_and_update());
        self.grant.borrow_and_update().allocation.apply(&pod)
    }

    /// Takes note of what was granted, or not; whether it is something else than before.
    pub(super) fn see_grant(&mut self) -> bool {
        let Grant { allocation, waits } = self.grant.borrow().clone();
        let generation = self.pod.metadata.generation;
        let is_changed = self.resizes.granted != allocation;
        if is_changed {
            self.resizes.granted = allocation;
            self.resizes.under_way = Some(generation.unwrap_or(0));
            for known in self.observed.containers.values_mut() {
                known.resize_failure = None;
            }
            let message = summary("Pod resize started", &self.pod, generation.unwrap_or(0), "");
            self.kubelet.events.pod(&self.pod, None, Type::Normal, "ResizeStarted", message);
        }
        self.observed.pending_resize = waits.map(|(pending, _)| pending);
        let told = self.observed.pending_resize.clone().map(|pending| (pending, generation));
        if let Some((pending, _)) = told.as_ref().filter(|_| told != self.resizes.told) {
            let event = match pending {
                Pending::Deferred(_) => "ResizeDeferred",
                Pending::Infeasible(_) => "ResizeInfeasible",
            };
            let wanted = Arc::clone(&self.pod_changes.borrow());
            let what = format!("Pod resize {}", pending.reason());
            let message = summary(&what, &wanted, generation.unwrap_or(0), pending.message());
            self.kubelet.events.pod(&self.pod, None, Type::Warning, event, message);
        }
        self.resizes.told = told;
        is_changed
    }

    pub(super) fn resize(&mut self, name: &str) {
        let Some(spec) = container(&self.pod, name).map(std::borrow::Cow::into_owned) else { return };
        let known = self.known(name);
        let Some(id) = known.running().map(|run| run.id.clone()) else { return };
        known.busy = true;
        self.operations.spawn(resize::resize(self.scope(), spec, id));
    }

    pub(super) fn is_resized(&mut self, name: &str, id: &str, result: Result<ResourceRequirements, String>) {
        let known = self.known(name);
        // One that has ended meanwhile may be on its way to the next run.
        let Some(run) = known.latest.as_mut().filter(|run| run.id == id && run.outcome().is_none()) else { return };
        known.busy = false;
        match result {
            Ok(resources) => {
                run.resources = Some(resources);
                known.resize_failure = None;
            }
            Err(message) => {
                let at = Timestamp::now();
                let before = known.resize_failure.as_ref().map(|failure| failure.retry_at.duration_since(failure.at));
                let pause = before.map_or(PAUSE, |pause| (pause + pause).min(LONGEST_PAUSE));
                known.resize_failure = Some(Failure { reason: "Error".to_owned(), message, at, retry_at: at + pause });
            }
        }
    }

    /// Says `status`; a pod that has ended leaves room to others.
    pub(super) fn say(&self, status: PodStatus) {
        let ends = has_ended(&status) && !has_ended(&self.status.latest());
        self.status.publish(status);
        if ends {
            self.kubelet.make_room();
        }
    }

    /// Events of a resize that has come into effect, or could not.
    pub(super) fn tell_of_resize(&mut self, status: &PodStatus) {
        let Some(generation) = self.resizes.under_way else { return };
        let Some(now) = conditions::find(status, conditions::RESIZE_IN_PROGRESS) else {
            self.resizes.under_way = None;
            let message = summary("Pod resize completed", &self.pod, generation, "");
            return self.kubelet.events.pod(&self.pod, None, Type::Normal, "ResizeCompleted", message);
        };
        // Once for each wish: how much is in use, which the message says, is another amount at every attempt.
        let latest = self.status.latest();
        let is_told = conditions::find(&latest, conditions::RESIZE_IN_PROGRESS).is_some_and(|before| before.reason == now.reason);
        if let Some(error) = now.message.as_deref().filter(|_| !is_told) {
            let message = summary("Pod resize error", &self.pod, generation, error);
            self.kubelet.events.pod(&self.pod, None, Type::Warning, "ResizeError", message);
        }
    }
}
