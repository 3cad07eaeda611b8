//! No pod of a workload is without an owner that is there, or was when the pod was made; unless the owner was deleted without what it
//! owned.

use std::collections::BTreeSet;

use super::{Checker, Moment};
use crate::{
    actor::Actor,
    scene::{Change, Pod, Scene},
};

/// Uids of everything that ever could own a pod.
#[derive(Debug, Default)]
pub(crate) struct Owner {
    known: BTreeSet<String>,
}

/// Whether nobody owned the pod, or only a set that is gone or goes without what it owns.
fn is_left_behind(scene: &Scene, pod: &Pod) -> bool {
    pod.meta.controller.is_none() || scene.set_of(pod).is_none_or(|set| set.meta.going)
}

impl Checker for Owner {
    fn look(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        match moment.change {
            Change::ReplicaSet(None, Some(set)) => {
                self.known.insert(set.meta.uid.clone());
                let deployments = &moment.scene.deployments;
                let owned = deployments.values().any(|deployment| set.meta.is_owned_by(&deployment.meta.uid));
                // Its Deployment may have been deleted while the request was on its way; the garbage loop sees to that.
                if set.meta.controller.is_none() && !owned {
                    return Err(format!("the ReplicaSet {} is made without an owner", set.meta.name));
                }
            }
            Change::Set(None, Some(set)) => {
                self.known.insert(set.meta.uid.clone());
            }
            Change::Pod(before, Some(pod)) if moment.actor == Actor::Controllers && !pod.meta.going => match &pod.meta.controller
            {
                None if before.as_ref().is_some_and(|before| is_left_behind(moment.scene, before)) => {}
                None => return Err(format!("the pod {} has no owner", pod.meta.name)),
                Some(uid) if !self.known.contains(uid) => {
                    return Err(format!("the pod {} has an owner that never was", pod.meta.name));
                }
                Some(_) => {}
            },
            _ => {}
        }
        Ok(())
    }
}
