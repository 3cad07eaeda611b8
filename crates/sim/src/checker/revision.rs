//! Revisions only grow: those of a Deployment, those of each of its ReplicaSets, and those of each ControllerRevision.

use super::{Checker, Moment};
use crate::scene::Change;

/// Nothing to remember.
#[derive(Debug, Default)]
pub(crate) struct Revision;

impl Checker for Revision {
    fn look(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        let (name, before, after) = match moment.change {
            Change::Deployment(Some(before), Some(after)) => (&after.meta.name, before.revision, after.revision),
            Change::ReplicaSet(Some(before), Some(after)) => (&after.meta.name, before.revision, after.revision),
            Change::Revision(Some(before), Some(after)) => (&after.meta.name, before.number, after.number),
            _ => return Ok(()),
        };
        if after < before { Err(format!("the revision of {name} went back from {before} to {after}")) } else { Ok(()) }
    }
}
