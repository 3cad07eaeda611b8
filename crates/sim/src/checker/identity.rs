//! No pod vanishes while its containers may run: only its node takes it out of the store, once nothing of it is left. Otherwise its
//! successor could run beside it, under the same name in a StatefulSet.
//!
//! A pod that no node has, or that has ended, runs nowhere.

use super::{Checker, Moment};
use crate::{actor::Actor, scene::Change};

/// Nothing to remember.
#[derive(Debug, Default)]
pub(crate) struct Identity;

impl Checker for Identity {
    fn look(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        match moment.change {
            Change::Pod(Some(pod), None) if moment.actor == Actor::Controllers && !pod.node.is_empty() && !pod.finished => {
                Err(format!("{} is taken out of the store while it may run on {}", pod.meta.name, pod.node))
            }
            _ => Ok(()),
        }
    }
}
