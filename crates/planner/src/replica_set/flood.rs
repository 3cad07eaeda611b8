//! Pauses when pods fail one after the other: what a node refuses must not be made again in a hot loop.
//!
//! Upstream has none, and fills the store with failed pods until they are collected.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;

/// Failed pods for which there is no pause: this many, or two for each that is wanted if that is more. A node that gives up many at
/// once is no reason to wait.
const FREE: usize = 10;
/// The first pause.
const FIRST: SignedDuration = SignedDuration::from_secs(1);
/// Each time that as many failed as are wanted the pause doubles, up to about 17 minutes.
const DOUBLINGS: usize = 10;

/// When pods may be made in place of those that failed and are still there; `None`: now.
pub(super) fn pause(failed: &[Arc<Pod>], wanted: usize, now: Timestamp) -> Option<Timestamp> {
    let over = failed.len().checked_sub(FREE.max(wanted.saturating_mul(2)))?;
    let newest = failed.iter().filter_map(|pod| Some(pod.metadata.creation_timestamp.as_ref()?.0)).max()?;
    let doublings = (over / wanted.max(1)).min(DOUBLINGS);
    Some(newest + FIRST * (1 << doublings)).filter(|until| *until > now)
}
