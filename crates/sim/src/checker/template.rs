//! A Deployment never has two ReplicaSets for one template, and no set two revisions.

use super::{Checker, Moment};
use crate::scene::{Change, ReplicaSet, Revision};

/// Nothing to remember.
#[derive(Debug, Default)]
pub(crate) struct Template;

impl Checker for Template {
    fn look(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        if let Change::Revision(None, Some(revision)) = moment.change
            && let Some(owner) = &revision.meta.controller
        {
            let same = |other: &&Revision| other.meta.uid != revision.meta.uid && other.data == revision.data;
            return match moment.scene.revisions_of(owner).find(same) {
                Some(other) => Err(format!("{} and {} remember the same", revision.meta.name, other.meta.name)),
                None => Ok(()),
            };
        }
        let Change::ReplicaSet(_, Some(set)) = moment.change else { return Ok(()) };
        let Some(owner) = &set.meta.controller else { return Ok(()) };
        let same = |other: &&ReplicaSet| other.meta.uid != set.meta.uid && other.template == set.template;
        match moment.scene.replica_sets_of(owner).find(same) {
            Some(other) => Err(format!("{} and {} have the same template", set.meta.name, other.meta.name)),
            None => Ok(()),
        }
    }
}
