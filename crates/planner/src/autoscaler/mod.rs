//! What a HorizontalPodAutoscaler does next.
//!
//! No metrics are served here, so this decides as upstream does where none are: a target outside of its bounds is brought inside,
//! and one within them stays, with the reason in condition and Event.

mod metric;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::{
    HorizontalPodAutoscaler, HorizontalPodAutoscalerCondition, HorizontalPodAutoscalerStatus, MetricStatus,
};

use crate::{note::Note, seconds};

const ABLE_TO_SCALE: &str = "AbleToScale";
const SCALING_ACTIVE: &str = "ScalingActive";

/// What became of the question for the target's scale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Its scale.
    Scale {
        /// Replicas that are asked for.
        replicas: i32,
        /// Selector of its pods in text; empty where it has none.
        selector: String,
    },
    /// Its reference names no version of a group.
    Unreadable(String),
    /// No such kind is served.
    Unmapped(String),
    /// The server refused.
    Refused(String),
}

/// Why the target is scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It has more than the most.
    AboveMaxReplicas,
    /// It has less than the least.
    BelowMinReplicas,
}

impl Reason {
    fn text(self) -> &'static str {
        match self {
            Self::AboveMaxReplicas => "Current number of replicas above Spec.MaxReplicas",
            Self::BelowMinReplicas => "Current number of replicas below Spec.MinReplicas",
        }
    }
}

/// A change of the target's scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// From so many replicas.
    pub from: i32,
    /// To so many.
    pub to: i32,
    /// Why.
    pub reason: Reason,
}

/// What to do. With a step, what is to be said follows from how it went: [`done`] or [`refused`].
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The target's next scale.
    pub step: Option<Step>,
    /// The status to write.
    pub status: HorizontalPodAutoscalerStatus,
    /// Events to tell.
    pub notes: Vec<Note>,
}

/// Decides about one autoscaler.
pub fn plan(autoscaler: &HorizontalPodAutoscaler, target: &Target, now: Timestamp) -> Plan {
    let mut status = autoscaler.status.clone().unwrap_or_default();
    let (replicas, selector) = match target {
        Target::Scale { replicas, selector } => (*replicas, selector),
        Target::Unreadable(error) | Target::Unmapped(error) | Target::Refused(error) => {
            return unknown(status, target, error, now);
        }
    };
    let text = "the HPA controller was able to get the target's current scale";
    set(&mut status, ABLE_TO_SCALE, true, "SucceededGetScale", text.to_owned(), now);
    let spec = &autoscaler.spec;
    let (least, most) = (spec.min_replicas.unwrap_or(1), spec.max_replicas);
    let step = |to, reason| Some(Step { from: replicas, to, reason });
    if replicas == 0 && least != 0 {
        let text = "scaling is disabled since the replica count of the target is zero";
        set(&mut status, SCALING_ACTIVE, false, "ScalingDisabled", text.to_owned(), now);
        count(&mut status, replicas, replicas, None);
        return Plan { step: None, status, notes: Vec::new() };
    }
    if replicas > most {
        return Plan { step: step(most, Reason::AboveMaxReplicas), status, notes: Vec::new() };
    }
    if replicas < least {
        return Plan { step: step(least, Reason::BelowMinReplicas), status, notes: Vec::new() };
    }
    let unmeasured = metric::unmeasured(autoscaler, selector);
    set(&mut status, SCALING_ACTIVE, false, unmeasured.reason, unmeasured.message, now);
    let metrics = unmeasured.is_measured.then(|| vec![MetricStatus::default(); spec.metrics.as_ref().map_or(0, Vec::len)]);
    let desired = status.desired_replicas;
    count(&mut status, replicas, desired, metrics);
    Plan { step: None, status, notes: unmeasured.notes }
}

/// What to say when the step was taken.
pub fn done(plan: &Plan, step: Step, now: Timestamp) -> (HorizontalPodAutoscalerStatus, Note) {
    let mut status = plan.status.clone();
    let text = format!("the HPA controller was able to update the target scale to {}", step.to);
    set(&mut status, ABLE_TO_SCALE, true, "SucceededRescale", text, now);
    count(&mut status, step.from, step.to, None);
    status.last_scale_time = Some(seconds(now));
    (status, Note::normal("SuccessfulRescale", format!("New size: {}; reason: {}", step.to, step.reason.text())))
}

/// What to say when the step was refused.
pub fn refused(plan: &Plan, step: Step, error: &str, now: Timestamp) -> (HorizontalPodAutoscalerStatus, Note) {
    let mut status = plan.status.clone();
    let text = format!("the HPA controller was unable to update the target scale: {error}");
    set(&mut status, ABLE_TO_SCALE, false, "FailedUpdateScale", text, now);
    let desired = status.desired_replicas;
    count(&mut status, step.from, desired, None);
    let text = format!("New size: {}; reason: {}; error: {error}", step.to, step.reason.text());
    (status, Note::warning("FailedRescale", text))
}

fn unknown(mut status: HorizontalPodAutoscalerStatus, target: &Target, error: &str, now: Timestamp) -> Plan {
    let what = match target {
        Target::Unmapped(_) => "determine resource for scale target reference",
        _ => "get the target's current scale",
    };
    let why = format!("the HPA controller was unable to {what}: {error}");
    set(&mut status, ABLE_TO_SCALE, false, "FailedGetScale", why, now);
    Plan { step: None, status, notes: vec![Note::warning("FailedGetScale", error)] }
}

fn count(status: &mut HorizontalPodAutoscalerStatus, current: i32, desired: i32, metrics: Option<Vec<MetricStatus>>) {
    status.current_replicas = Some(current).filter(|current| *current != 0);
    status.desired_replicas = desired;
    status.current_metrics = metrics;
}

/// Sets a condition; its time is that of the last change of its status.
fn set(status: &mut HorizontalPodAutoscalerStatus, kind: &str, holds: bool, reason: &str, message: String, now: Timestamp) {
    let conditions = status.conditions.get_or_insert_default();
    let index = conditions.iter().position(|condition| condition.type_ == kind).unwrap_or_else(|| {
        conditions.push(HorizontalPodAutoscalerCondition { type_: kind.to_owned(), ..Default::default() });
        conditions.len() - 1
    });
    let condition = &mut conditions[index];
    let value = if holds { "True" } else { "False" };
    if condition.status != value {
        condition.last_transition_time = Some(seconds(now));
    }
    value.clone_into(&mut condition.status);
    condition.reason = Some(reason.to_owned());
    condition.message = Some(message);
}
