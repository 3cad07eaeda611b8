//! A Deployment never takes so many available pods away that fewer than `replicas - maxUnavailable` are left.
//!
//! Available are pods that are neither finished nor marked for deletion, and ready for `minReadySeconds`. What is asked for is that
//! bound, except:
//!
//! - There cannot be more than there were: a Deployment that grows, or begins, owes its bound only once it has reached it and the
//!   controllers know ([`Known`]). A pod that a ReplicaSet was told to give up when it was not available does not count for that: it may
//!   become available before it goes.
//! - A pod that is lost without the controllers' doing (it fails, its node goes silent or is removed, the user deletes it) lowers what
//!   is asked for by one until the controllers know of it and have made good, whatever else the user asks for meanwhile. So does one
//!   that is ready, and not yet for long enough: they may take it for available before they hear of its loss.
//! - When the user lowers the bound it is lower at once. When the user scales in the middle of a rollout, or of one that is yet to
//!   begin, to fewer pods than there may be or are, every ReplicaSet gives up its share, whether its pods are available or not, as
//!   upstream has it: so many fewer are asked for until the controllers know of everything again. So it does when a Deployment is
//!   paused while it has more pods than it may have.
//! - When a longer `minReadySeconds` makes pods unavailable, they were not taken away, and ReplicaSets that were told to shrink before
//!   it still do. Under Recreate nothing is asked for.
//!
//! [`Known`]: super::Known

use std::collections::BTreeMap;

use super::{Checker, Moment};
use crate::{
    actor::Actor,
    scene::{Change, Deployment, Pod, Scene},
};

/// By uid of a Deployment: how many pods are to be available.
#[derive(Debug, Default)]
pub(crate) struct Available {
    least: BTreeMap<String, usize>,
    /// How many were lost since the controllers last knew everything.
    lost: BTreeMap<String, usize>,
}

impl Checker for Available {
    fn look(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        let scene = moment.scene;
        for (uid, known) in &moment.known {
            let (bound, surplus) = (known.deployment.bounds.least, surplus(scene, &known.deployment));
            let reached = bound.min(known.available).saturating_sub(surplus);
            let reached_to_stay = bound.min(known.available.saturating_sub(known.told_to_go)).saturating_sub(surplus);
            let least = self.least.entry(uid.clone()).or_default();
            *least = reached.min(reached_to_stay.max(*least));
            self.lost.remove(uid);
        }
        if let Some(uid) = loser(moment)
            && let Some(least) = self.least.get_mut(&uid)
        {
            *least = least.saturating_sub(1);
            *self.lost.entry(uid).or_default() += 1;
        }
        if let Change::Deployment(Some(before), Some(after)) = moment.change
            && let Some(least) = self.least.get_mut(&after.meta.uid)
            && (!before.is_observed() || scene.replica_sets_of(&after.meta.uid).filter(|set| set.size > 0).count() > 1)
        {
            let fewer = before.bounds.most.saturating_sub(after.bounds.most);
            let crowd = if before.replicas == after.replicas { surplus(scene, after) } else { beyond(scene, after) };
            *least = least.saturating_sub(fewer.max(crowd));
        }
        let excused = matches!(moment.change, Change::ReplicaSet(Some(before), Some(after))
            if before.min_ready_seconds != after.min_ready_seconds || before.meta.controller != after.meta.controller);
        for deployment in scene.deployments.values().filter(|deployment| !deployment.meta.going) {
            let lost = self.lost.get(&deployment.meta.uid).copied().unwrap_or(0);
            let set = deployment.bounds.least.saturating_sub(lost);
            let available = scene.available(&deployment.meta.uid, moment.now);
            let least = self.least.entry(deployment.meta.uid.clone()).or_insert(0);
            *least = set.min(*least);
            if excused {
                *least = available.saturating_sub(scene.told_to_go(&deployment.meta.uid)).min(*least);
            }
            if available < *least {
                return Err(format!("{} has {available} available pods, at least {least} are due", deployment.meta.name));
            }
        }
        Ok(())
    }
}

/// Pods that every ReplicaSet of a paused Deployment gives up its share of.
fn surplus(scene: &Scene, deployment: &Deployment) -> usize {
    if deployment.paused { beyond(scene, deployment) } else { 0 }
}

/// Pods beyond the most that there may be.
fn beyond(scene: &Scene, deployment: &Deployment) -> usize {
    scene.active(&deployment.meta.uid).saturating_sub(deployment.bounds.most)
}

/// Uid of the Deployment that has just lost a ready pod without the controllers' doing.
fn loser(moment: &Moment<'_>) -> Option<String> {
    let Change::Pod(Some(before), after) = moment.change else { return None };
    let set = moment.scene.replica_sets.values().find(|set| before.meta.is_owned_by(&set.meta.uid))?;
    let ready = |pod: &Pod| pod.is_available(0, moment.now);
    let lost = ready(before) && !after.as_ref().is_some_and(ready);
    // The controllers take a pod away by marking or deleting it; that they call one unready is not their doing, nor that its node went.
    let taken = !moment.scene.nodes.is_stranded(before)
        && moment.actor == Actor::Controllers
        && after.as_ref().is_none_or(|pod| pod.meta.going);
    (lost && !taken).then(|| set.meta.controller.clone()).flatten()
}
