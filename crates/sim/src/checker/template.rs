//! A Deployment never has two ReplicaSets for one template.

use super::{Checker, Moment};
use crate::scene::Change;

/// Nothing to remember.
#[derive(Debug, Default)]
pub(crate) struct Template;

impl Checker for Template {
    fn look(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        let Change::ReplicaSet(_, Some(set)) = moment.change else { return Ok(()) };
        let Some(owner) = &set.meta.controller else { return Ok(()) };
        let same = |other: &&crate::scene::ReplicaSet| other.meta.uid != set.meta.uid && other.template == set.template;
        match moment.scene.replica_sets_of(owner).find(same) {
            Some(other) => Err(format!("{} and {} have the same template", set.meta.name, other.meta.name)),
            None => Ok(()),
        }
    }
}
