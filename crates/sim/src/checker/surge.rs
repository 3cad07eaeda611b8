//! A Deployment never has more replicas than `replicas + maxSurge`.
//!
//! Counted are pods that are neither finished nor marked for deletion. When the user lowers the bound, the pods above it cannot be
//! gone at once, and controllers that have yet to hear of it may still fill the old one: so the highest bound counts that was set
//! since the controllers last knew everything ([`Known`]) with no more pods than the bound then allowed. Failing pods change
//! nothing: their successors come when they are finished, or marked for deletion.
//!
//! [`Known`]: super::Known

use std::collections::BTreeMap;

use super::{Checker, Moment};

/// By uid of a Deployment: the highest bound that still counts.
#[derive(Debug, Default)]
pub(crate) struct Surge {
    most: BTreeMap<String, usize>,
}

impl Checker for Surge {
    fn look(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        let scene = moment.scene;
        for deployment in scene.deployments.values().filter(|deployment| !deployment.meta.going) {
            let active = scene.active(&deployment.meta.uid);
            let set = deployment.bounds.most;
            let most = self.most.entry(deployment.meta.uid.clone()).or_insert(set);
            if let Some(known) =
                moment.known.get(&deployment.meta.uid).filter(|known| known.active <= known.deployment.bounds.most)
            {
                *most = known.deployment.bounds.most;
            }
            *most = set.max(*most);
            if active > *most {
                return Err(format!("{} has {active} pods, at most {most} are allowed", deployment.meta.name));
            }
        }
        Ok(())
    }
}
