//! A paused Deployment does not roll: once its controller has seen the pause, no ReplicaSet is made, and none changes its size
//! unless the user has scaled since, or changed the strategy. Under Recreate, what the user has scaled before may have to wait until
//! the pods of other ReplicaSets are gone: nothing is said until it has come.

use std::collections::BTreeMap;

use super::{Checker, Moment};
use crate::{
    actor::Actor,
    scene::{Bounds, Change, Deployment},
};

/// What a paused Deployment was asked for when its controller had seen it: how many, within which bounds, and whether under Recreate,
/// which leaves a surplus that a rolling update takes away.
type Asked = (usize, Bounds, bool);

/// By uid, the Deployments whose pause has been seen.
#[derive(Debug, Default)]
pub(crate) struct Paused {
    seen: BTreeMap<String, Asked>,
}

fn asked(deployment: &Deployment) -> Asked {
    (deployment.replicas, deployment.bounds, deployment.recreate)
}

impl Checker for Paused {
    fn look(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        for (uid, known) in moment.known.iter().filter(|(_, known)| known.deployment.paused) {
            let sized: usize = moment.scene.replica_sets_of(uid).map(|set| set.size).sum();
            if known.deployment.recreate && sized < known.deployment.replicas {
                continue;
            }
            self.seen.insert(uid.clone(), asked(&known.deployment));
        }
        match moment.change {
            Change::Deployment(_, Some(deployment)) => {
                let unchanged = self.seen.get(&deployment.meta.uid) == Some(&asked(deployment));
                if !deployment.paused || deployment.meta.going || !unchanged {
                    self.seen.remove(&deployment.meta.uid);
                }
            }
            Change::ReplicaSet(before, Some(after)) if moment.actor == Actor::Controllers => {
                let of_paused = after.meta.controller.as_ref().is_some_and(|uid| self.seen.contains_key(uid));
                let resized = before.as_ref().is_none_or(|before| before.size != after.size);
                if of_paused && resized {
                    let name = &after.meta.name;
                    let size = before.as_ref().map(|before| before.size);
                    return Err(format!("{name} goes from {size:?} to {} under a pause", after.size));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
