//! Pods on a node that does not want them any more, or that nobody hears of.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, Pod, PodCondition, Taint, Toleration};

use super::READY;
use crate::{node::tolerates, replica, seconds};

/// How long a pod may stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stay {
    /// As long as it likes.
    ForGood,
    /// Until then.
    Until(Timestamp),
    /// No longer.
    Over,
}

/// How long the pod may stay on the node, by the node's NoExecute taints and the pod's tolerations of them.
pub fn stay(pod: &Pod, node: &Node, now: Timestamp) -> Stay {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default();
    let limits = taints.iter().filter(|taint| taint.effect == "NoExecute").map(|taint| limit(taint, tolerations, now));
    let earliest = limits.reduce(|left, right| match (left, right) {
        (Stay::ForGood, other) | (other, Stay::ForGood) => other,
        (Stay::Over, _) | (_, Stay::Over) => Stay::Over,
        (Stay::Until(left), Stay::Until(right)) => Stay::Until(left.min(right)),
    });
    earliest.unwrap_or(Stay::ForGood)
}

/// The shortest of the tolerations that cover the taint counts; none of them means at once.
fn limit(taint: &Taint, tolerations: &[Toleration], now: Timestamp) -> Stay {
    let mut covering = tolerations.iter().filter(|toleration| tolerates(toleration, taint)).peekable();
    if covering.peek().is_none() {
        return Stay::Over;
    }
    let Some(shortest) = covering.filter_map(|toleration| toleration.toleration_seconds).min() else { return Stay::ForGood };
    let since = taint.time_added.as_ref().map_or(now, |time| time.0);
    match since.checked_add(SignedDuration::from_secs(shortest.max(0))) {
        Ok(until) if until > now => Stay::Until(until),
        Ok(_) => Stay::Over,
        Err(_) => Stay::ForGood,
    }
}

/// The Ready condition of a pod whose node is not ready; `None` if it says so already.
pub fn not_ready_condition(pod: &Pod, now: Timestamp) -> Option<PodCondition> {
    let ready = replica::condition(pod, READY).filter(|ready| ready.status == "True")?;
    Some(PodCondition { status: "False".to_owned(), last_transition_time: Some(seconds(now)), ..ready.clone() })
}
