//! The status of a ReplicaSet.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus},
    core::v1::Pod,
};
use windlass_api::selector::Selector;

use super::{Reason, min_ready_seconds};
use crate::{replica, seconds};

const REPLICA_FAILURE: &str = "ReplicaFailure";

fn count(value: usize) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

/// The status that these pods make; earlier failures are over.
pub(super) fn counted(replica_set: &ReplicaSet, active: &[Arc<Pod>], terminating: i32, now: Timestamp) -> ReplicaSetStatus {
    let template = replica_set.spec.as_ref().and_then(|spec| spec.template.as_ref());
    let labels =
        Selector::equal_to(template.and_then(|template| template.metadata.as_ref()?.labels.as_ref()).into_iter().flatten());
    let seconds = min_ready_seconds(replica_set);
    let number = |wanted: &dyn Fn(&Pod) -> bool| active.iter().filter(|pod| wanted(pod)).count();
    let present = |value: usize| Some(count(value)).filter(|value| *value != 0);
    let fully_labeled = |pod: &Pod| labels.matches(&pod.metadata.labels.as_ref());
    let conditions = replica_set.status.as_ref().and_then(|status| status.conditions.clone()).map(|mut conditions| {
        conditions.retain(|condition| condition.type_ != REPLICA_FAILURE);
        conditions
    });
    ReplicaSetStatus {
        available_replicas: present(number(&|pod| replica::is_available(pod, seconds, now))),
        conditions: conditions.filter(|conditions| !conditions.is_empty()),
        fully_labeled_replicas: present(number(&fully_labeled)),
        observed_generation: replica_set.metadata.generation,
        ready_replicas: present(number(&replica::is_ready)),
        replicas: count(active.len()),
        terminating_replicas: Some(terminating),
    }
}

/// The status with the failure of a step in it; one that is known already keeps its time.
pub fn with_failure(
    replica_set: &ReplicaSet,
    mut status: ReplicaSetStatus,
    reason: Reason,
    message: &str,
    now: Timestamp,
) -> ReplicaSetStatus {
    let known = replica_set.status.as_ref().and_then(|status| status.conditions.as_ref());
    let known = known.into_iter().flatten().find(|condition| condition.type_ == REPLICA_FAILURE);
    let failure = known.cloned().unwrap_or_else(|| ReplicaSetCondition {
        last_transition_time: Some(seconds(now)),
        message: Some(message.to_owned()),
        reason: Some(if reason == Reason::TooMany { "FailedDelete" } else { "FailedCreate" }.to_owned()),
        status: "True".to_owned(),
        type_: REPLICA_FAILURE.to_owned(),
    });
    status.conditions.get_or_insert_default().push(failure);
    status
}
