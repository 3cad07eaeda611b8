//! What is said of containers that wait for their next attempt.

use k8s_openapi::api::core::v1::PodStatus;
use windlass_planner::pod::observed;

use super::Worker;
use crate::{
    events::Type,
    pod::{field_path, name, namespace, statuses, uid},
};

impl Worker {
    /// An event for each container that began to wait for its next attempt.
    pub(super) fn tell_of_back_off(&mut self, status: &PodStatus) {
        for container in statuses(status) {
            let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
            let reason = waiting.and_then(|waiting| waiting.reason.clone()).unwrap_or_default();
            if self.told.insert(container.name.clone(), reason.clone()).is_some_and(|told| told == reason) {
                continue;
            }
            let path = field_path(&self.pod, &container.name);
            let event =
                |kind, reason, message: String| self.kubelet.events.pod(&self.pod, Some(path.clone()), kind, reason, message);
            let pod = format!("{}_{}({})", name(&self.pod), namespace(&self.pod), uid(&self.pod));
            match reason.as_str() {
                observed::CRASH_LOOP_BACK_OFF => {
                    event(
                        Type::Warning,
                        "BackOff",
                        format!("Back-off restarting failed container {} in pod {pod}", container.name),
                    );
                }
                observed::IMAGE_PULL_BACK_OFF => {
                    event(Type::Normal, "BackOff", format!("Back-off pulling image \"{}\"", container.image));
                    event(Type::Warning, "Failed", format!("Error: {}", observed::IMAGE_PULL_BACK_OFF));
                }
                _ => {}
            }
        }
    }
}
