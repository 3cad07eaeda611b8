//! A node that has gone silent.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, NodeCondition};

use super::READY;
use crate::seconds;

/// The conditions that a kubelet keeps up, in the order they are written.
const KEPT_UP: [&str; 4] = [READY, "MemoryPressure", "DiskPressure", "PIDPressure"];

/// How long a node may be silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grace {
    /// One that has said before how it is. Upstream: 50 s.
    pub monitor: Duration,
    /// One that has never said how it is: it may still be starting. Upstream: 60 s.
    pub startup: Duration,
}

/// How a node is.
#[derive(Debug, Clone, PartialEq)]
pub enum Health {
    /// It has been heard of; look again then.
    Heard {
        /// When it will have been silent for too long.
        until: Timestamp,
    },
    /// It is silent, and its conditions say so already.
    KnownSilent,
    /// It is silent: these are its conditions now.
    Silent {
        /// All conditions of the node.
        conditions: Vec<NodeCondition>,
    },
}

/// Judges a node that was last heard of at `heard`.
pub fn health(node: &Node, heard: Timestamp, grace: Grace, now: Timestamp) -> Health {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let has_said = conditions.iter().any(|condition| condition.type_ == READY);
    let grace = if has_said { grace.monitor } else { grace.startup };
    let until = SignedDuration::try_from(grace).ok().and_then(|grace| heard.checked_add(grace).ok()).unwrap_or(Timestamp::MAX);
    if now < until {
        return Health::Heard { until };
    }
    let mut conditions = conditions.to_vec();
    let mut changed = false;
    for type_ in KEPT_UP {
        match conditions.iter_mut().find(|condition| condition.type_ == type_) {
            Some(condition) if condition.status == "Unknown" => {}
            Some(condition) => {
                condition.status = "Unknown".to_owned();
                condition.reason = Some("NodeStatusUnknown".to_owned());
                condition.message = Some("Kubelet stopped posting node status.".to_owned());
                condition.last_transition_time = Some(seconds(now));
                changed = true;
            }
            None => {
                conditions.push(never_posted(node, type_, now));
                changed = true;
            }
        }
    }
    if changed { Health::Silent { conditions } } else { Health::KnownSilent }
}

fn never_posted(node: &Node, type_: &str, now: Timestamp) -> NodeCondition {
    NodeCondition {
        last_heartbeat_time: node.metadata.creation_timestamp.clone(),
        last_transition_time: Some(seconds(now)),
        message: Some("Kubelet never posted node status.".to_owned()),
        reason: Some("NodeStatusNeverUpdated".to_owned()),
        status: "Unknown".to_owned(),
        type_: type_.to_owned(),
    }
}
