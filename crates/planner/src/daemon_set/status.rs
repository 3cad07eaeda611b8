//! The status of a DaemonSet, counted node by node.

use k8s_openapi::api::apps::v1::DaemonSetStatus;

use super::Planning;
use crate::replica;

impl Planning<'_> {
    pub(super) fn status(&self) -> DaemonSetStatus {
        let before = self.set.status.clone().unwrap_or_default();
        let mut status = DaemonSetStatus {
            observed_generation: self.set.metadata.generation,
            collision_count: before.collision_count,
            conditions: before.conditions,
            ..DaemonSetStatus::default()
        };
        let (mut updated, mut available) = (0, 0);
        for place in &self.places {
            let scheduled = !place.pods.is_empty();
            if !place.fit.should_run {
                status.number_misscheduled += i32::from(scheduled);
                continue;
            }
            status.desired_number_scheduled += 1;
            // While surging, the new pod speaks for its node.
            let Some(first) = place.pods.iter().find(|pod| self.is_new(pod)).or(place.pods.first()) else { continue };
            status.current_number_scheduled += 1;
            status.number_ready += i32::from(place.pods.iter().any(|pod| replica::is_active(pod) && replica::is_ready(pod)));
            available += i32::from(place.pods.iter().any(|pod| self.is_available(pod)));
            updated += i32::from(self.is_new(first));
        }
        let unavailable = status.desired_number_scheduled - available;
        status.updated_number_scheduled = Some(updated).filter(|count| *count > 0);
        status.number_available = Some(available).filter(|count| *count > 0);
        status.number_unavailable = Some(unavailable).filter(|count| *count > 0);
        status
    }
}
