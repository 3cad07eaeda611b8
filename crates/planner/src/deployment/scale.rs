//! `spec.replicas` changed: how the change is shared out among the ReplicaSets.

use std::{cmp::Reverse, collections::BTreeMap};

use k8s_openapi::api::apps::v1::Deployment;
use windlass_api::names::{ANNOTATION_DESIRED_REPLICAS, ANNOTATION_MAX_REPLICAS};

use super::{Reason, Rollout, member::Member, settings};
use crate::owner;

impl Rollout<'_> {
    /// Whether a ReplicaSet with pods was sized for another `spec.replicas`.
    pub(super) fn is_scaling_event(&self) -> bool {
        let replicas = settings::replicas(self.deployment);
        let active = self.old.iter().filter(|member| member.size() > 0);
        active.filter_map(|member| number(member, ANNOTATION_DESIRED_REPLICAS)).any(|desired| desired != replicas)
    }

    /// Sizes the ReplicaSets for the present `spec.replicas`, without rolling; `false` if only rolling can bring it about.
    pub(super) fn scale(&mut self, running_pods: &BTreeMap<String, usize>) -> bool {
        let deployment = self.deployment;
        let replicas = settings::replicas(deployment);
        let only = self.active_or_latest().map(|member| member.name().to_owned());
        let free = if self.would_run_beside(only.as_deref(), running_pods) { 0 } else { self.free(only.as_deref()) };
        if let Some(only) = self.active_or_latest() {
            // It grows as far as pods that others have not deleted yet leave room.
            let room = only.size().saturating_add(free);
            only.resize(deployment, replicas.min(room.max(only.size())), Reason::Scale);
            return true;
        }
        // Upstream does so under a pause, too: there the last step of a rollout is left to whoever ends the pause.
        if !settings::paused(deployment) && self.is_saturated() {
            for member in self.old.iter_mut().filter(|member| member.size() > 0) {
                member.resize(deployment, 0, Reason::Saturated);
            }
            return true;
        }
        if settings::is_rolling_update(deployment) {
            self.scale_in_proportion();
            return true;
        }
        false
    }

    /// Whether what `only` grew by would run beside pods of others, which Recreate promises not to happen.
    fn would_run_beside(&self, only: Option<&str>, running_pods: &BTreeMap<String, usize>) -> bool {
        let mut others = self.members().filter(|member| Some(member.name()) != only);
        !settings::is_rolling_update(self.deployment)
            && others.any(|member| running_pods.get(member.uid()).is_some_and(|pods| *pods > 0))
    }

    /// Most pods that may exist.
    fn allowed(&self) -> i32 {
        let replicas = settings::replicas(self.deployment);
        if replicas > 0 { replicas.saturating_add(settings::bounds(self.deployment).max_surge) } else { 0 }
    }

    /// How many more pods there may be, those counted that are to go and have not gone yet; none while a ReplicaSet has pods that
    /// nobody has counted. Its own do not matter to `only`, the one that may grow, if it is known: it makes up for what it lacks.
    fn free(&self, only: Option<&str>) -> i32 {
        if self.members().any(|member| !member.observed() && Some(member.name()) != only) {
            return 0;
        }
        let occupied = self.members().map(Member::occupied).fold(0, i32::saturating_add);
        self.allowed().saturating_sub(occupied).max(0)
    }

    /// The only ReplicaSet with pods, or the newest if none has any; `None` if several have.
    fn active_or_latest(&mut self) -> Option<&mut Member> {
        let active = self.members().filter(|member| member.size() > 0).count();
        match active {
            0 if self.new.is_some() => self.new.as_mut(),
            0 => self.old.last_mut(),
            1 => self.old.iter_mut().chain(&mut self.new).find(|member| member.size() > 0),
            _ => None,
        }
    }

    /// Whether the new ReplicaSet has all pods and all are available.
    fn is_saturated(&self) -> bool {
        let replicas = settings::replicas(self.deployment);
        self.new.as_ref().is_some_and(|new| {
            let desired = number(new, ANNOTATION_DESIRED_REPLICAS);
            new.size() == replicas && desired == Some(replicas) && new.available() == replicas
        })
    }

    /// Larger ReplicaSets take larger shares; what rounding leaves goes to the largest.
    fn scale_in_proportion(&mut self) {
        let deployment = self.deployment;
        let (allowed, free) = (self.allowed(), self.free(None));
        let before = deployment.status.as_ref().and_then(|status| status.replicas).unwrap_or(0);
        let mut active: Vec<&mut Member> = self.old.iter_mut().chain(&mut self.new).filter(|member| member.size() > 0).collect();
        let total: i32 = active.iter().map(|member| member.size()).fold(0, i32::saturating_add);
        let to_add = allowed.saturating_sub(total).min(free);
        // They stand oldest first. Of equal size, the newer grows first and the older shrinks first.
        if to_add > 0 {
            active.reverse();
        }
        active.sort_by_key(|member| Reverse(member.size()));
        let shares = proportions(&active, deployment, to_add, before);
        for (member, size) in active.into_iter().zip(shares) {
            member.resize(deployment, size, Reason::ScaleInProportion);
        }
    }
}

/// The size of each member, given in order of precedence, when `to_add` pods are added (or taken away).
fn proportions(members: &[&mut Member], deployment: &Deployment, to_add: i32, before: i32) -> Vec<i32> {
    let mut added = 0;
    let mut sizes: Vec<i32> = members
        .iter()
        .map(|member| {
            let allowed = to_add - added;
            let share = if to_add == 0 || allowed == 0 { 0 } else { fraction(member, deployment, before) };
            // None grows while pods go, or shrinks while they come: a size that was noted long ago may say so.
            let share = if to_add > 0 { share.clamp(0, allowed) } else { share.clamp(allowed, 0) };
            added += share;
            member.size() + share
        })
        .collect();
    if let Some(first) = sizes.first_mut() {
        *first = (*first + to_add - added).max(0);
    }
    sizes
}

/// How far a member grows if it keeps its share of the Deployment, rounded to the nearest.
fn fraction(member: &Member, deployment: &Deployment, status_replicas: i32) -> i32 {
    let replicas = settings::replicas(deployment);
    let size = member.size();
    if replicas == 0 {
        return -size;
    }
    let most = i64::from(replicas) + i64::from(settings::bounds(deployment).max_surge);
    let before = i64::from(number(member, ANNOTATION_MAX_REPLICAS).filter(|most| *most > 0).unwrap_or(status_replicas));
    if before <= 0 {
        return 0;
    }
    let twice = 2 * i64::from(size) * most;
    let rounded = (twice + before).div_euclid(2 * before);
    i32::try_from(rounded).unwrap_or(i32::MAX) - size
}

fn number(member: &Member, annotation: &str) -> Option<i32> {
    owner::annotation(&member.object().metadata, annotation)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use k8s_openapi::api::apps::v1::ReplicaSet;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn deployment(replicas: i32, max_surge: i32) -> Deployment {
        let strategy = json!({ "rollingUpdate": { "maxSurge": max_surge, "maxUnavailable": 1 } });
        let spec = json!({ "replicas": replicas, "selector": {}, "template": {}, "strategy": strategy });
        serde_json::from_value(json!({ "metadata": { "name": "web" }, "spec": spec })).unwrap()
    }

    fn member(index: usize, size: i32, most: i32) -> Member {
        let annotations = BTreeMap::from([(ANNOTATION_MAX_REPLICAS, most.to_string())]);
        let set: ReplicaSet = serde_json::from_value(json!({
            "metadata": { "name": format!("web-{index}"), "annotations": annotations },
            "spec": { "replicas": size, "selector": {} },
        }))
        .unwrap();
        Member::existing(Arc::new(set))
    }

    proptest! {
        #[test]
        fn shares_add_up_and_go_one_way(
            sizes in proptest::collection::vec(1..200i32, 2..7),
            replicas in 0..600i32, surge in 0..40i32, noted_surge in 0..40i32,
        ) {
            let deployment = deployment(replicas, surge);
            let before: i32 = sizes.iter().sum();
            let allowed = if replicas > 0 { replicas + surge } else { 0 };
            let most = before + noted_surge;
            let mut members: Vec<Member> = sizes.iter().enumerate().map(|(index, size)| member(index, *size, most)).collect();
            members.sort_by_key(|member| Reverse(member.size()));
            let mut members: Vec<&mut Member> = members.iter_mut().collect();
            let to_add = allowed - before;
            let after = proportions(&members, &deployment, to_add, before);
            prop_assert!(after.iter().all(|size| *size >= 0), "{after:?}");
            let total: i32 = after.iter().sum();
            prop_assert!(total <= before.max(allowed), "{after:?} of {allowed}");
            if to_add >= 0 {
                prop_assert_eq!(total, allowed, "everything that may be added is, and no more");
            }
            for (member, size) in members.iter_mut().zip(&after).skip(1) {
                let change = size - member.size();
                prop_assert!(change == 0 || (change > 0) == (to_add > 0), "{} -> {size} while adding {to_add}", member.size());
            }
        }
    }
}
