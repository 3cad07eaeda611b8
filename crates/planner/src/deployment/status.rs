//! The status of a Deployment: counts, and the conditions that `kubectl rollout status` lives on.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{DeploymentCondition, DeploymentStatus};

use super::{Rollout, WaitingOn, member::Member, settings};
use crate::{owner, seconds};

pub(super) const AVAILABLE: &str = "Available";
pub(super) const PROGRESSING: &str = "Progressing";
const REPLICA_FAILURE: &str = "ReplicaFailure";

const NEW_REPLICA_SET_AVAILABLE: &str = "NewReplicaSetAvailable";
const PROGRESS_DEADLINE_EXCEEDED: &str = "ProgressDeadlineExceeded";
const DEPLOYMENT_PAUSED: &str = "DeploymentPaused";

/// How much of the status a pass may touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing beyond what it has set itself.
    Untouched,
    /// Counts and availability: paused, scaled or being deleted, it makes no progress to speak of.
    Counted,
    /// Progress too.
    Judged,
}

/// A condition that came to be now.
pub(super) fn condition(type_: &str, status: &str, reason: &str, message: &str, now: Timestamp) -> DeploymentCondition {
    DeploymentCondition {
        last_transition_time: Some(seconds(now)),
        last_update_time: Some(seconds(now)),
        message: Some(message.to_owned()),
        reason: Some(reason.to_owned()),
        status: status.to_owned(),
        type_: type_.to_owned(),
    }
}

/// Finds a condition.
pub(super) fn find<'a>(status: &'a DeploymentStatus, type_: &str) -> Option<&'a DeploymentCondition> {
    status.conditions.as_ref()?.iter().find(|condition| condition.type_ == type_)
}

/// Sets a condition. One of the same status and reason stays as it is; one of the same status keeps its transition time.
pub(super) fn set_condition(status: &mut DeploymentStatus, mut condition: DeploymentCondition) {
    if let Some(present) = find(status, &condition.type_) {
        if present.status == condition.status && present.reason == condition.reason {
            return;
        }
        if present.status == condition.status {
            condition.last_transition_time = present.last_transition_time.clone();
        }
    }
    remove_condition(status, &condition.type_);
    status.conditions.get_or_insert_default().push(condition);
}

fn remove_condition(status: &mut DeploymentStatus, type_: &str) {
    if let Some(conditions) = status.conditions.as_mut() {
        conditions.retain(|condition| condition.type_ != type_);
    }
}

fn reason_of(condition: Option<&DeploymentCondition>) -> Option<&str> {
    condition.and_then(|condition| condition.reason.as_deref())
}

/// Counts are absent when zero, as upstream writes them.
fn count(value: i32) -> Option<i32> {
    Some(value).filter(|value| *value != 0)
}

impl Rollout<'_> {
    fn has_deadline(&self) -> bool {
        settings::progress_deadline_seconds(self.deployment).is_some()
    }

    fn progressing(&mut self, status: &str, reason: &str, message: &str) {
        if self.has_deadline() {
            set_condition(&mut self.status, condition(PROGRESSING, status, reason, message, self.now));
        }
    }

    /// Says that the Deployment was paused or resumed; a rollout that has failed stays failed.
    pub(super) fn note_pause(&mut self) {
        let reason = reason_of(find(&self.status, PROGRESSING));
        if reason == Some(PROGRESS_DEADLINE_EXCEEDED) {
            return;
        }
        let was_paused = reason == Some(DEPLOYMENT_PAUSED);
        match (settings::paused(self.deployment), was_paused) {
            (true, false) => self.progressing("Unknown", DEPLOYMENT_PAUSED, "Deployment is paused"),
            (false, true) => self.progressing("Unknown", "DeploymentResumed", "Deployment is resumed"),
            _ => {}
        }
    }

    pub(super) fn status_found_replica_set(&mut self, name: &str) {
        if find(&self.status, PROGRESSING).is_none() {
            self.progressing("True", "FoundNewReplicaSet", &format!("Found new replica set \"{name}\""));
        }
    }

    pub(super) fn status_created_replica_set(&mut self, name: &str) {
        self.progressing("True", "NewReplicaSetCreated", &format!("Created new replica set \"{name}\""));
    }

    /// Whether every pod is of the present template and available, by the ReplicaSets' statuses.
    pub(super) fn is_complete(&self) -> bool {
        complete(&self.counted(), settings::replicas(self.deployment))
    }

    /// Brings the status up to date; the answer is when a deadline will have passed.
    pub(super) fn settle_status(&mut self, before: &DeploymentStatus, judged: bool) -> Option<Timestamp> {
        self.status = self.counted();
        if !judged {
            return None;
        }
        if !self.has_deadline() {
            remove_condition(&mut self.status, PROGRESSING);
        }
        let present = find(before, PROGRESSING).cloned();
        let settled = reason_of(present.as_ref()) == Some(NEW_REPLICA_SET_AVAILABLE)
            && self.status.replicas.unwrap_or(0) == self.status.updated_replicas.unwrap_or(0);
        if self.has_deadline() && !settled {
            self.judge_progress(before, present.as_ref());
        }
        self.copy_replica_failure();
        self.wake_at()
    }

    fn judge_progress(&mut self, before: &DeploymentStatus, present: Option<&DeploymentCondition>) {
        let subject = match &self.new {
            Some(new) => format!("ReplicaSet \"{}\"", new.name()),
            None => format!("Deployment \"{}\"", owner::name(&self.deployment.metadata)),
        };
        if complete(&self.status, settings::replicas(self.deployment)) {
            self.progressing("True", NEW_REPLICA_SET_AVAILABLE, &format!("{subject} has successfully progressed."));
        } else if progressed(before, &self.status) {
            let text = format!("{subject} is progressing.");
            let mut progress = condition(PROGRESSING, "True", "ReplicaSetUpdated", &text, self.now);
            // Taken out first so that each real step of progress moves lastUpdateTime, from which the deadline counts.
            if let Some(present) = present {
                if present.status == "True" {
                    progress.last_transition_time = present.last_transition_time.clone();
                }
                remove_condition(&mut self.status, PROGRESSING);
            }
            set_condition(&mut self.status, progress);
        } else if self.deadline().is_some_and(|deadline| deadline < self.now) {
            self.progressing("False", PROGRESS_DEADLINE_EXCEEDED, &format!("{subject} has timed out progressing."));
        }
    }

    /// When the rollout will have failed; `None` if it is done, has failed, or may take for ever.
    fn deadline(&self) -> Option<Timestamp> {
        let limit = settings::progress_deadline_seconds(self.deployment)?;
        let progress = find(&self.status, PROGRESSING)?;
        if matches!(reason_of(Some(progress)), Some(NEW_REPLICA_SET_AVAILABLE | PROGRESS_DEADLINE_EXCEEDED)) {
            return None;
        }
        progress.last_update_time.as_ref()?.0.checked_add(SignedDuration::from_secs(i64::from(limit))).ok()
    }

    fn wake_at(&mut self) -> Option<Timestamp> {
        if complete(&self.status, settings::replicas(self.deployment)) {
            return None;
        }
        if self.waiting.is_empty() {
            self.waiting.push(WaitingOn::Completion);
        }
        // Written times are whole seconds: a second later the deadline has passed beyond doubt.
        self.deadline()?.checked_add(SignedDuration::from_secs(1)).ok()
    }

    /// What keeps ReplicaSets from making pods is the Deployment's trouble too; the new one's comes first.
    fn copy_replica_failure(&mut self) {
        let failure = self.new.iter().chain(&self.old).find_map(|member| {
            let conditions = member.seen().status.as_ref()?.conditions.as_ref()?;
            conditions.iter().find(|condition| condition.type_ == REPLICA_FAILURE).cloned()
        });
        match failure {
            Some(failure) => set_condition(
                &mut self.status,
                DeploymentCondition {
                    last_update_time: failure.last_transition_time.clone(),
                    last_transition_time: failure.last_transition_time,
                    message: failure.message,
                    reason: failure.reason,
                    status: failure.status,
                    type_: failure.type_,
                },
            ),
            None => remove_condition(&mut self.status, REPLICA_FAILURE),
        }
    }

    /// The present status with new counts and a new Available condition.
    fn counted(&self) -> DeploymentStatus {
        let replicas = settings::replicas(self.deployment);
        let sum = |of: fn(&Member) -> i32| self.members().map(of).fold(0, i32::saturating_add);
        let available = sum(Member::available);
        let total = sum(Member::size);
        let terminating =
            self.members().map(|member| member.seen().status.as_ref().map_or(Some(0), |status| status.terminating_replicas));
        let mut status = DeploymentStatus {
            available_replicas: count(available),
            collision_count: self.status.collision_count,
            conditions: self.status.conditions.clone(),
            observed_generation: self.deployment.metadata.generation,
            ready_replicas: count(sum(Member::ready)),
            replicas: count(sum(Member::status_replicas)),
            terminating_replicas: terminating.sum(),
            unavailable_replicas: count((total - available).max(0)),
            updated_replicas: count(self.new.as_ref().map_or(0, Member::status_replicas)),
        };
        let least = replicas - settings::bounds(self.deployment).max_unavailable;
        let (value, reason, message) = if available >= least {
            ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
        } else {
            ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
        };
        set_condition(&mut status, condition(AVAILABLE, value, reason, message, self.now));
        status
    }
}

fn complete(status: &DeploymentStatus, replicas: i32) -> bool {
    [status.updated_replicas, status.replicas, status.available_replicas].into_iter().all(|count| count.unwrap_or(0) == replicas)
}

/// Whether more pods are updated, ready or available than before, or fewer are old.
fn progressed(before: &DeploymentStatus, after: &DeploymentStatus) -> bool {
    let number = |count: Option<i32>| count.unwrap_or(0);
    let old = |status: &DeploymentStatus| number(status.replicas) - number(status.updated_replicas);
    number(after.updated_replicas) > number(before.updated_replicas)
        || old(after) < old(before)
        || number(after.ready_replicas) > number(before.ready_replicas)
        || number(after.available_replicas) > number(before.available_replicas)
}
