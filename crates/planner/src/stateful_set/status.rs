//! The status of a StatefulSet, counted from its pods.

use k8s_openapi::api::{apps::v1::StatefulSetStatus, core::v1::Pod};

use super::{Planning, Strategy, identity};
use crate::replica;

impl Planning<'_> {
    pub(super) fn status(&self) -> StatefulSetStatus {
        let pods: Vec<&Pod> =
            self.slots.iter().filter_map(|slot| slot.pod.as_deref()).chain(self.condemned.iter().map(AsRef::as_ref)).collect();
        let count =
            |wanted: &dyn Fn(&Pod) -> bool| i32::try_from(pods.iter().filter(|pod| wanted(pod)).count()).unwrap_or(i32::MAX);
        let staying = |pod: &Pod| pod.metadata.deletion_timestamp.is_none();
        let of = |revision: &str| count(&|pod| staying(pod) && identity::revision_of(pod) == revision);
        let (updated, ready) = (of(&self.update), count(&|pod| staying(pod) && replica::is_ready(pod)));
        let before = self.set.status.clone().unwrap_or_default();
        let replicas = count(&|_| true);
        // The rollout is over: where it went is where the next one comes from. Without pods a partition still keeps the lower
        // ordinals, to come, where they were.
        let over = |partition: i32| partition == 0 || replicas > 0;
        let done = matches!(self.settings.strategy, Strategy::RollingUpdate { partition, .. } if over(partition))
            && updated == self.settings.replicas
            && updated == replicas
            && ready == replicas;
        let current = if done { &self.update } else { &self.current };
        StatefulSetStatus {
            observed_generation: self.set.metadata.generation,
            replicas,
            ready_replicas: Some(ready),
            available_replicas: Some(count(&|pod| self.is_available(pod))),
            updated_replicas: Some(updated),
            current_replicas: Some(of(current)),
            current_revision: Some(current.clone()),
            update_revision: Some(self.update.clone()),
            collision_count: Some(before.collision_count.unwrap_or(0)),
            conditions: before.conditions,
        }
    }
}
