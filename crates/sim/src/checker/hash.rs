//! The template of a ReplicaSet or of a ControllerRevision never changes: what a revision was, it stays, and an undo finds it to the byte.

use super::{Checker, Moment};
use crate::scene::Change;

/// Nothing to remember.
#[derive(Debug, Default)]
pub(crate) struct Hash;

impl Checker for Hash {
    fn look(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        match moment.change {
            Change::ReplicaSet(Some(before), Some(after)) if before.template != after.template => {
                Err(format!("the template of {} has changed", after.meta.name))
            }
            Change::Revision(Some(before), Some(after)) if before.data != after.data => {
                Err(format!("what the revision {} remembers has changed", after.meta.name))
            }
            _ => Ok(()),
        }
    }
}
