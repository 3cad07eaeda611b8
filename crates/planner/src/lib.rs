//! Decides: pure functions from a snapshot of the world to a plan.
//!
//! Every module answers one question about the state of a cluster at one instant, given as `now`. A plan is complete and
//! specific: whoever carries it out makes no choice. Absent on purpose: clocks, randomness, logging, I/O, async, and maps
//! whose order is random.

pub mod autoscaler;
pub mod claim;
pub mod controller_revision;
pub mod daemon_set;
pub mod deployment;
pub mod disruption;
pub mod endpoints;
mod failures;
pub mod garbage;
pub mod image;
pub mod namespace;
pub mod node;
pub mod node_lifecycle;
pub mod note;
pub mod owner;
pub mod percent;
pub mod pod;
pub mod pod_garbage;
pub mod proxy;
pub mod quota;
pub mod replica;
pub mod replica_set;
pub mod replication_controller;
pub mod schedule;
pub mod stateful_set;
pub mod template;
pub mod volume;

pub use self::failures::Failures;
use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// The instant as the API writes it: whole seconds, rounded down.
pub fn seconds(now: Timestamp) -> Time {
    let whole = TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Floor);
    Time(now.round(whole).unwrap_or(now))
}
