//! Budgets of all forms, over pods in all states.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::api::{core::v1::Pod, policy::v1::PodDisruptionBudget};
use serde_json::{Value, json};

use super::{Plan, Scale, Snapshot, plan, stale_at};

const NOW: &str = "2026-01-01T00:10:00Z";

fn pod(name: &str, owner: &str, ready: bool) -> Arc<Pod> {
    let owners = if owner.is_empty() {
        json!([])
    } else {
        json!([{ "apiVersion": "v1", "kind": "K", "name": "o", "uid": owner, "controller": true }])
    };
    Arc::new(
        serde_json::from_value(json!({
            "metadata": { "name": name, "namespace": "default", "labels": { "app": "web" }, "ownerReferences": owners },
            "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": if ready { "True" } else { "False" } }] },
        }))
        .unwrap(),
    )
}

fn budget(spec: Value, status: Value) -> PodDisruptionBudget {
    let mut spec = spec;
    spec["selector"] = json!({ "matchLabels": { "app": "web" } });
    let mut all = json!({ "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0, "disruptionsAllowed": 0 });
    all.as_object_mut().unwrap().extend(status.as_object().unwrap().clone());
    serde_json::from_value(
        json!({ "metadata": { "name": "b", "namespace": "default", "generation": 3 }, "spec": spec, "status": all }),
    )
    .unwrap()
}

fn planned(budget: &PodDisruptionBudget, pods: &[Arc<Pod>], replicas: i32) -> Plan {
    let scale = Scale::Replicas { uid: "deployment".to_owned(), replicas };
    // Two ReplicaSets of one Deployment count once.
    let mut scales = BTreeMap::from([("new".to_owned(), scale.clone()), ("old".to_owned(), scale)]);
    scales.insert("daemon".to_owned(), Scale::None { resource: "daemonsets.apps".to_owned() });
    plan(&Snapshot { budget, pods, scales: &scales }, NOW.parse::<Timestamp>().unwrap())
}

/// Healthy now, healthy wanted, expected, allowed; and the condition.
fn summary(plan: &Plan) -> String {
    let status = &plan.status;
    let condition = &status.conditions.as_ref().unwrap()[0];
    format!(
        "{}/{} of {}: {} {} {}",
        status.current_healthy.unwrap(),
        status.desired_healthy.unwrap(),
        status.expected_pods.unwrap(),
        status.disruptions_allowed.unwrap(),
        condition.status,
        condition.reason
    )
}

fn three() -> Vec<Arc<Pod>> {
    vec![pod("a", "old", true), pod("b", "new", true), pod("c", "new", true)]
}

#[test]
fn numbers_and_percentages_round_towards_keeping_pods_where_upstream_does() {
    let cases = [
        (json!({ "minAvailable": 2 }), "3/2 of 3: 1 True SufficientPods"),
        (json!({ "minAvailable": 3 }), "3/3 of 3: 0 False InsufficientPods"),
        (json!({ "minAvailable": "50%" }), "3/2 of 3: 1 True SufficientPods"),
        (json!({ "maxUnavailable": 1 }), "3/2 of 3: 1 True SufficientPods"),
        (json!({ "maxUnavailable": 0 }), "3/3 of 3: 0 False InsufficientPods"),
        (json!({ "maxUnavailable": "34%" }), "3/1 of 3: 2 True SufficientPods"),
        (json!({ "maxUnavailable": 7 }), "3/0 of 3: 3 True SufficientPods"),
    ];
    for (spec, expected) in cases {
        assert_eq!(summary(&planned(&budget(spec.clone(), json!({})), &three(), 3)), expected, "{spec}");
    }
}

#[test]
fn pods_that_are_not_ready_or_about_to_go_are_not_healthy() {
    let mut pods = three();
    pods[0] = pod("a", "old", false);
    assert_eq!(summary(&planned(&budget(json!({ "minAvailable": 1 }), json!({})), &pods, 3)), "2/1 of 3: 1 True SufficientPods");
    let disrupted = json!({ "disruptedPods": { "b": "2026-01-01T00:09:00Z", "gone": "2026-01-01T00:09:00Z" } });
    let plan = planned(&budget(json!({ "minAvailable": 1 }), disrupted), &pods, 3);
    assert_eq!(summary(&plan), "1/1 of 3: 0 False InsufficientPods");
    assert_eq!(plan.status.disrupted_pods.unwrap().into_keys().collect::<Vec<_>>(), ["b"]);
    assert_eq!(plan.wake_at, Some("2026-01-01T00:11:00Z".parse().unwrap()));
}

#[test]
fn a_pod_that_was_spared_counts_again() {
    let long_ago = json!({ "disruptedPods": { "b": "2026-01-01T00:07:00Z" } });
    let plan = planned(&budget(json!({ "minAvailable": 2 }), long_ago), &three(), 3);
    assert_eq!((summary(&plan).as_str(), plan.spared.len()), ("3/2 of 3: 1 True SufficientPods", 1));
}

#[test]
fn without_pods_nothing_is_allowed() {
    let plan = planned(&budget(json!({ "minAvailable": 0 }), json!({})), &[], 3);
    assert_eq!((summary(&plan).as_str(), plan.notes[0].reason), ("0/0 of 0: 0 False InsufficientPods", "NoPods"));
}

#[test]
fn shares_of_what_is_not_scaled_fail_and_allow_nothing() {
    let before = json!({ "disruptionsAllowed": 2 });
    let plan = planned(&budget(json!({ "maxUnavailable": 1 }), before), &[pod("a", "daemon", true)], 3);
    assert_eq!(summary(&plan), "0/0 of 0: 0 False SyncFailed");
    assert_eq!(plan.status.conditions.unwrap()[0].message, "daemonsets.apps does not implement the scale subresource");
    // A plain number needs no scale.
    let plan = planned(&budget(json!({ "minAvailable": 0 }), json!({})), &[pod("a", "daemon", true)], 3);
    assert_eq!(summary(&plan), "1/0 of 1: 1 True SufficientPods");
}

#[test]
fn pods_without_an_owner_are_told_of() {
    let plan = planned(&budget(json!({ "maxUnavailable": 1 }), json!({})), &[pod("a", "", true)], 3);
    assert_eq!((summary(&plan).as_str(), plan.notes[0].reason), ("1/0 of 0: 0 False InsufficientPods", "UnmanagedPods"));
}

#[test]
fn a_budget_that_is_up_to_date_is_left_alone() {
    let first = budget(json!({ "minAvailable": 2 }), json!({}));
    let settled = PodDisruptionBudget { status: Some(planned(&first, &three(), 3).status), ..first };
    assert_eq!(planned(&settled, &three(), 3).status, settled.status.unwrap());
}

#[test]
fn a_disruption_that_nobody_carries_out_is_believed_for_two_minutes() {
    let told = |status: &str, reason: &str, phase: &str| {
        let mut pod = Pod::clone(&pod("p", "", true));
        let target = json!({
            "type": "DisruptionTarget", "status": status, "reason": reason, "lastTransitionTime": "2026-01-01T00:09:00Z",
        });
        pod.status = serde_json::from_value(json!({ "phase": phase, "conditions": [target] })).unwrap();
        pod
    };
    let evicted = told("True", "EvictionByEvictionAPI", "Running");
    assert_eq!(stale_at(&evicted), Some("2026-01-01T00:11:00Z".parse().unwrap()));
    let mut deleted = evicted;
    deleted.metadata.deletion_timestamp = serde_json::from_value(json!(NOW)).unwrap();
    let certain = [
        deleted,
        told("False", "", "Running"),
        told("True", "TerminationByKubelet", "Running"),
        told("True", "EvictionByEvictionAPI", "Failed"),
        Pod::clone(&pod("p", "", true)),
    ];
    assert!(certain.iter().all(|pod| stale_at(pod).is_none()));
}
