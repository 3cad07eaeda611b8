//! No pod of a workload is without an owner that is there, or was when the pod was made.

use std::collections::BTreeSet;

use super::{Checker, Moment};
use crate::{actor::Actor, scene::Change};

/// Uids of everything that ever could own a pod.
#[derive(Debug, Default)]
pub(crate) struct Owner {
    known: BTreeSet<String>,
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
            Change::Pod(_, Some(pod)) if moment.actor == Actor::Controllers && !pod.meta.going => match &pod.meta.controller {
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
