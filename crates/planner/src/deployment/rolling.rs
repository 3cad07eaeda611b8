//! RollingUpdate: new pods within maxSurge, old ones away as far as maxUnavailable allows.

use super::{Reason, Rollout, WaitingOn, member::Member, settings};

impl Rollout<'_> {
    /// One beat of the rollout: up, then down, then forget.
    pub(super) fn roll(&mut self) {
        self.grow_new();
        self.shrink_old();
        if self.is_complete() {
            self.prune_history();
        }
    }

    fn grow_new(&mut self) {
        let deployment = self.deployment;
        let replicas = settings::replicas(deployment);
        let Some(size) = self.new.as_ref().map(Member::size) else { return };
        if size > replicas {
            self.resize_new(replicas, Reason::AboveReplicas);
        }
        if size >= replicas {
            return;
        }
        // Without these figures nobody knows how many pods there are; the answer is milliseconds away. And pods that the new ReplicaSet
        // was told to give up before are still among those that it says are available: grown now, it would be thought to have them.
        let shrinks = self.new.as_ref().is_some_and(|new| new.status_replicas() > size);
        let unseen = self.members().filter(|member| !member.observed());
        let unseen = unseen.chain(self.new.as_ref().filter(|new| shrinks && new.observed()));
        let unseen: Vec<String> = unseen.map(|member| member.name().to_owned()).collect();
        if !unseen.is_empty() {
            self.waiting.extend(unseen.into_iter().map(|name| WaitingOn::ReplicaSetObserved { name }));
            return;
        }
        let limit = replicas.saturating_add(settings::bounds(deployment).max_surge);
        let pods: i32 = self.members().map(Member::occupied).fold(0, i32::saturating_add);
        if pods >= limit {
            self.waiting.push(WaitingOn::SurgeExhausted { pods, limit });
            return;
        }
        self.resize_new(size + (limit - pods).min(replicas - size), Reason::SurgeRoom);
    }

    pub(super) fn resize_new(&mut self, size: i32, reason: Reason) {
        let deployment = self.deployment;
        if let Some(new) = self.new.as_mut() {
            new.resize(deployment, size, reason);
        }
    }

    fn shrink_old(&mut self) {
        if self.old.iter().all(|member| member.size() == 0) {
            return;
        }
        let deployment = self.deployment;
        let min_available = settings::replicas(deployment) - settings::bounds(deployment).max_unavailable;
        let (wanted, available) = self.new.as_ref().map_or((0, 0), |new| (new.size(), new.dependable_available()));
        let all: i32 = self.members().map(Member::size).fold(0, i32::saturating_add);
        // Old pods that would be spared even if every new pod that is not available yet failed for good.
        let spare = all - min_available - (wanted - available);
        if spare > 0 {
            let available_before = self.old.iter().map(Member::dependable_available).fold(available, i32::saturating_add);
            self.drop_unhealthy(spare);
            self.drop_available(available_before - min_available);
        }
        if spare <= 0 || self.old.iter().any(|member| member.size() > 0) {
            self.waiting.push(WaitingOn::NewPodsAvailable { available, wanted });
        }
    }

    /// Takes away up to `most` old pods that are not available, oldest ReplicaSet first.
    fn drop_unhealthy(&mut self, most: i32) {
        let deployment = self.deployment;
        let mut left = most;
        for member in &mut self.old {
            let unhealthy = (member.size() - member.lasting_available()).clamp(0, left);
            if unhealthy > 0 {
                member.resize(deployment, member.size() - unhealthy, Reason::UnhealthyOldPods);
                left -= unhealthy;
            }
        }
    }

    /// Takes away up to `most` old pods, oldest ReplicaSet first.
    fn drop_available(&mut self, most: i32) {
        let deployment = self.deployment;
        let mut left = most.max(0);
        for member in &mut self.old {
            let gone = member.size().min(left);
            if gone > 0 {
                member.resize(deployment, member.size() - gone, Reason::AvailableEnough);
                left -= gone;
            }
        }
    }
}
