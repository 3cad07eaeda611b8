//! What must hold after every single write to the store. One file an invariant; a violation is a sentence.
//!
//! The checkers see the writes in the order in which they took place, and who made each. They know nothing of caches: what a
//! controller may not yet know is allowed for in the invariants themselves, as each file says.

mod available;
mod claims;
mod daemon;
mod hash;
mod identity;
mod owner;
mod paused;
mod recreate;
mod revision;
mod stateful;
mod surge;
mod template;
mod views;

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::{
    actor::Actor,
    scene::{Change, Deployment, Scene},
};

/// The moment after a write.
#[derive(Debug)]
pub(crate) struct Moment<'a> {
    /// Everything as it is now.
    pub(crate) scene: &'a Scene,
    /// What has just changed.
    pub(crate) change: &'a Change,
    /// Who changed it.
    pub(crate) actor: Actor,
    /// When.
    pub(crate) now: Timestamp,
    /// By uid, the Deployments of which the controllers knew everything just before.
    pub(crate) known: BTreeMap<String, Known>,
    /// Whether just before their watches had told the controllers of everything, and nothing of theirs was under way.
    pub(crate) all_heard: bool,
}

/// A Deployment as it was when the controllers knew everything about it: what they had written about it was true, their watches
/// had told them of all there was, and nothing of theirs was under way. From here on they can only act on this or on newer.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    /// As it was.
    pub(crate) deployment: Deployment,
    /// Its pods that counted as replicas.
    pub(crate) active: usize,
    /// Its pods that were available.
    pub(crate) available: usize,
    /// Its pods that ReplicaSets had been told to give up, and had not yet.
    pub(crate) told_to_go: usize,
}

impl Known {
    /// The Deployments of which everything that is written about them is true.
    pub(crate) fn all(scene: &Scene, now: Timestamp) -> BTreeMap<String, Self> {
        let quiet = scene.deployments.values().filter(|deployment| scene.is_quiet(deployment, now));
        let known = quiet.map(|deployment| {
            let uid = deployment.meta.uid.clone();
            let (active, available) = (scene.active(&uid), scene.available(&uid, now));
            let told_to_go = scene.told_to_go(&uid);
            (uid, Self { deployment: deployment.clone(), active, available, told_to_go })
        });
        known.collect()
    }
}

/// An invariant.
pub(crate) trait Checker: Send {
    /// Looks at one moment.
    ///
    /// # Errors
    /// What does not hold.
    fn look(&mut self, moment: &Moment<'_>) -> Result<(), String>;
}

/// All invariants, fresh.
pub(crate) fn all() -> Vec<Box<dyn Checker>> {
    vec![
        Box::<surge::Surge>::default(),
        Box::<available::Available>::default(),
        Box::<recreate::Recreate>::default(),
        Box::<owner::Owner>::default(),
        Box::<template::Template>::default(),
        Box::<hash::Hash>::default(),
        Box::<revision::Revision>::default(),
        Box::<paused::Paused>::default(),
        Box::<identity::Identity>::default(),
        Box::<stateful::Stateful>::default(),
        Box::<daemon::Daemon>::default(),
        Box::<claims::Claims>::default(),
    ]
}
