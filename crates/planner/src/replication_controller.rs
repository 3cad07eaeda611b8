//! A ReplicationController is a ReplicaSet from before there were label selectors: it is planned as one.

use std::sync::Arc;

use k8s_openapi::{
    api::{
        apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetSpec, ReplicaSetStatus},
        core::v1::{ReplicationController, ReplicationControllerCondition, ReplicationControllerStatus},
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};

/// The ReplicaSet that does what the controller asks for.
pub fn as_replica_set(controller: &ReplicationController) -> Arc<ReplicaSet> {
    let spec = controller.spec.clone().unwrap_or_default();
    Arc::new(ReplicaSet {
        metadata: controller.metadata.clone(),
        spec: Some(ReplicaSetSpec {
            min_ready_seconds: spec.min_ready_seconds,
            replicas: spec.replicas,
            selector: LabelSelector { match_labels: spec.selector, match_expressions: None },
            template: spec.template,
        }),
        status: controller.status.clone().map(|status| ReplicaSetStatus {
            available_replicas: status.available_replicas,
            conditions: status.conditions.map(|conditions| conditions.into_iter().map(condition_seen).collect()),
            fully_labeled_replicas: status.fully_labeled_replicas,
            observed_generation: status.observed_generation,
            ready_replicas: status.ready_replicas,
            replicas: status.replicas,
            terminating_replicas: None,
        }),
    })
}

/// The status of a controller that is planned as a ReplicaSet with this one. It does not tell of pods on their way out.
pub fn status_of(status: ReplicaSetStatus) -> ReplicationControllerStatus {
    ReplicationControllerStatus {
        available_replicas: status.available_replicas,
        conditions: status.conditions.map(|conditions| conditions.into_iter().map(condition_told).collect()),
        fully_labeled_replicas: status.fully_labeled_replicas,
        observed_generation: status.observed_generation,
        ready_replicas: status.ready_replicas,
        replicas: status.replicas,
    }
}

fn condition_seen(condition: ReplicationControllerCondition) -> ReplicaSetCondition {
    ReplicaSetCondition {
        last_transition_time: condition.last_transition_time,
        message: condition.message,
        reason: condition.reason,
        status: condition.status,
        type_: condition.type_,
    }
}

fn condition_told(condition: ReplicaSetCondition) -> ReplicationControllerCondition {
    ReplicationControllerCondition {
        last_transition_time: condition.last_transition_time,
        message: condition.message,
        reason: condition.reason,
        status: condition.status,
        type_: condition.type_,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    use super::*;
    use crate::replica_set::{self, Action};

    #[test]
    fn its_pods_are_its_own_and_its_status_settles() {
        let mut controller: ReplicationController = serde_json::from_value(json!({
            "metadata": { "name": "web", "namespace": "default", "uid": "u", "generation": 1 },
            "spec": {
                "replicas": 2, "selector": { "app": "web" },
                "template": { "metadata": { "labels": { "app": "web" } }, "spec": { "containers": [] } },
            },
        }))
        .unwrap();
        let orphan = |name: &str, label: &str| -> Arc<Pod> {
            Arc::new(
                serde_json::from_value(json!({ "metadata": { "name": name, "uid": name, "labels": { "app": label } } })).unwrap(),
            )
        };
        let plan = |controller: &ReplicationController, pods: &[Arc<Pod>]| {
            let set = as_replica_set(controller);
            let snapshot = replica_set::Snapshot { replica_set: &set, pods, related: &[] };
            replica_set::plan::<ReplicationController>(&snapshot, jiff::Timestamp::UNIX_EPOCH)
        };
        let adopted = plan(&controller, &[orphan("a", "web"), orphan("b", "other")]);
        let [Action::SetOwners { pod, owners }] = &adopted.steps.iter().map(|step| step.action.clone()).collect::<Vec<_>>()[..]
        else {
            panic!("one pod is adopted: {:?}", adopted.steps)
        };
        assert_eq!((pod.metadata.name.as_deref(), owners[0].kind.as_str()), (Some("a"), "ReplicationController"));
        let created = plan(&controller, &[]);
        let Action::Create { pod, .. } = &created.steps[0].action else { panic!("pods are missing") };
        let owner = &pod.metadata.owner_references.as_ref().unwrap()[0];
        assert_eq!((owner.api_version.as_str(), owner.kind.as_str()), ("v1", "ReplicationController"));
        controller.status = Some(status_of(created.status.clone()));
        assert_eq!(status_of(plan(&controller, &[]).status), controller.status.unwrap(), "nothing is left to write");
    }
}
