//! Under Recreate, no new pod comes while an old one is still there.
//!
//! New is a pod of the ReplicaSet that has the Deployment's present template; old are the unfinished pods of its other ReplicaSets,
//! those on their way out included. It is asked of a Deployment that has been under Recreate since the controllers last knew
//! everything ([`Known`]), and whose template has changed but once since: what they began for another template or
//! another strategy cannot be undone by changing one's mind.
//!
//! A ReplicaSet that had pods when the template or the strategy changed, or when the controllers came to know of that, replaces those that
//! it loses: that is no new one either.
//!
//! [`Known`]: super::Known

use std::{collections::BTreeMap, sync::Arc};

use super::{Checker, Moment};
use crate::scene::{Change, Deployment};

/// By uid of a Deployment: what it has asked for since the controllers last knew everything.
#[derive(Debug, Default)]
pub(crate) struct Recreate {
    asked: BTreeMap<String, Vec<Asked>>,
    /// By uid of a ReplicaSet: the size that it has had ever since.
    kept: BTreeMap<String, usize>,
}

#[derive(Debug, Clone, PartialEq)]
struct Asked {
    template: Arc<str>,
    recreate: bool,
}

impl Recreate {
    fn note(&mut self, deployment: &Deployment) {
        let now = Asked { template: Arc::clone(&deployment.template), recreate: deployment.recreate };
        let asked = self.asked.entry(deployment.meta.uid.clone()).or_default();
        if asked.last() != Some(&now) {
            asked.push(now);
        }
    }

    fn holds_for(&self, deployment: &Deployment) -> bool {
        let asked = self.asked.get(&deployment.meta.uid);
        asked.is_some_and(|asked| asked.len() <= 2 && asked.iter().all(|asked| asked.recreate))
    }
}

impl Checker for Recreate {
    fn look(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        let scene = moment.scene;
        for (uid, known) in &moment.known {
            self.asked.remove(uid);
            self.note(&known.deployment);
            for set in scene.replica_sets_of(uid) {
                let active = scene.pods_of(&set.meta.uid).filter(|pod| pod.is_active()).count();
                let kept = self.kept.entry(set.meta.uid.clone()).or_insert(0);
                *kept = set.size.min(active).max(*kept);
            }
        }
        match moment.change {
            Change::Deployment(before, Some(deployment)) => {
                self.note(deployment);
                let asks = |deployment: &Deployment| (Arc::clone(&deployment.template), deployment.recreate);
                if before.as_ref().map(asks) != Some(asks(deployment)) {
                    let sets = scene.replica_sets_of(&deployment.meta.uid);
                    self.kept.extend(sets.map(|set| (set.meta.uid.clone(), set.size)));
                }
            }
            Change::ReplicaSet(_, Some(set)) => {
                let kept = self.kept.entry(set.meta.uid.clone()).or_insert(0);
                *kept = set.size.min(*kept);
            }
            _ => {}
        }
        let Change::Pod(None, Some(pod)) = moment.change else { return Ok(()) };
        let Some(deployment) = scene.deployment_of(pod).filter(|deployment| self.holds_for(deployment)) else { return Ok(()) };
        let (new, old): (Vec<_>, Vec<_>) =
            scene.replica_sets_of(&deployment.meta.uid).partition(|set| set.template == deployment.template);
        let Some(owner) = new.iter().find(|set| pod.meta.is_owned_by(&set.meta.uid)) else { return Ok(()) };
        let active = scene.pods_of(&owner.meta.uid).filter(|pod| pod.is_active()).count();
        if active <= self.kept.get(&owner.meta.uid).copied().unwrap_or(0) {
            return Ok(());
        }
        let old: usize = old.iter().map(|set| scene.pods_of(&set.meta.uid).filter(|pod| !pod.finished).count()).sum();
        if old > 0 {
            return Err(format!("{} is made while {old} old pods of {} are there", pod.meta.name, deployment.meta.name));
        }
        Ok(())
    }
}
