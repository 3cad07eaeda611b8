//! Recreate: every old pod is gone before the first new one comes.

use std::collections::BTreeMap;

use super::{Reason, Rollout, WaitingOn, member::Member, settings};

impl Rollout<'_> {
    /// One beat: down, wait until nothing runs, then up.
    pub(super) fn recreate(&mut self, running_pods: &BTreeMap<String, usize>) {
        let deployment = self.deployment;
        if self.old.iter().any(|member| member.size() > 0) {
            for member in self.old.iter_mut().filter(|member| member.size() > 0) {
                member.resize(deployment, 0, Reason::RecreateDown);
            }
            let pods = self.old.iter().map(Member::status_replicas).fold(0, i32::saturating_add);
            self.waiting.push(WaitingOn::OldPodsGone { pods });
            return;
        }
        let pods = self.old_pods(running_pods);
        if pods > 0 {
            self.waiting.push(WaitingOn::OldPodsGone { pods });
            return;
        }
        let unseen: Vec<String> =
            self.old.iter().filter(|member| !member.observed()).map(|member| member.name().to_owned()).collect();
        if !unseen.is_empty() {
            self.waiting.extend(unseen.into_iter().map(|name| WaitingOn::ReplicaSetObserved { name }));
            return;
        }
        if self.new.is_none() {
            self.create_replica_set();
        }
        self.resize_new(settings::replicas(deployment), Reason::RecreateUp);
        if self.is_complete() {
            self.prune_history();
        }
    }

    /// Pods of old ReplicaSets that still run, terminating ones included; by their ReplicaSets' word or by their own.
    fn old_pods(&self, running_pods: &BTreeMap<String, usize>) -> i32 {
        let counted = self.old.iter().map(|member| {
            let running = running_pods.get(member.uid()).copied().unwrap_or(0);
            member.status_replicas().max(i32::try_from(running).unwrap_or(i32::MAX))
        });
        counted.fold(0, i32::saturating_add)
    }
}
