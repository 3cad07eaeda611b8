//! No data is lost: a claim goes only where the user has said so, and not while a pod on a node uses it.
//!
//! Which of its policies a set goes by is the user's to change at any time, so a claim may go if any set that was there while it was has
//! said of its claims that they go with it, or with the pods that it is scaled down by.

use std::collections::BTreeSet;

use super::{Checker, Moment};
use crate::{
    actor::Actor,
    scene::{Change, Claim, Scene, Set},
};

/// What may go.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    /// Uids of claims.
    may_go: BTreeSet<String>,
    /// Uids of sets that have let claims go: one of theirs may come late, when its set has gone.
    letting: BTreeSet<String>,
}

fn lets_go(set: &Set) -> bool {
    set.retains != [true; 2]
}

fn user_of<'a>(scene: &'a Scene, claim: &Claim) -> Option<&'a str> {
    let uses = |claims: &[String]| claims.contains(&claim.meta.name);
    let mut running = scene.pods.values().filter(|pod| !pod.node.is_empty() && !pod.finished);
    running.find(|pod| uses(&pod.claims)).map(|pod| &*pod.meta.name)
}

impl Checker for Claims {
    fn look(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        let scene = moment.scene;
        match moment.change {
            Change::Set(_, Some(set)) if lets_go(set) => {
                self.letting.insert(set.meta.uid.clone());
                self.may_go.extend(scene.claims.values().map(|claim| claim.meta.uid.clone()));
            }
            Change::Claim(None, Some(claim)) => {
                let late = claim.owners.iter().any(|owner| self.letting.contains(owner));
                if late || scene.sets.values().any(lets_go) {
                    self.may_go.insert(claim.meta.uid.clone());
                }
            }
            Change::Claim(Some(claim), after) if moment.actor == Actor::Controllers => {
                let goes = after.as_ref().is_none_or(|claim| claim.meta.going);
                if goes && !claim.meta.going && !self.may_go.contains(&claim.meta.uid) {
                    return Err(format!("{} is deleted although it is to be kept", claim.meta.name));
                }
                if let Some(user) = user_of(scene, claim).filter(|_| after.is_none()) {
                    return Err(format!("{} is taken away while {user} uses it", claim.meta.name));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
