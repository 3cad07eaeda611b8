//! Snapshots to plans.

use serde_json::{Value, json};

use super::*;

fn now() -> Timestamp {
    "2026-01-01T00:10:00Z".parse().unwrap()
}

fn replica_set(replicas: i32) -> ReplicaSet {
    serde_json::from_value(json!({
        "metadata": {"name": "web-x", "namespace": "default", "uid": "rs", "generation": 2},
        "spec": {
            "replicas": replicas, "minReadySeconds": 10, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
        }
    }))
    .unwrap()
}

fn pod(name: &str, change: Value) -> Arc<Pod> {
    let mut value = json!({
        "metadata": {
            "name": name, "uid": name, "labels": {"app": "web"}, "creationTimestamp": "2026-01-01T00:00:00Z",
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-x", "uid": "rs", "controller": true}]
        },
        "spec": {"nodeName": "n1", "containers": []},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:01:00Z"}]}
    });
    merge(&mut value, change);
    Arc::new(serde_json::from_value(value).unwrap())
}

fn merge(into: &mut Value, change: Value) {
    match (into, change) {
        (Value::Object(into), Value::Object(change)) => {
            for (key, value) in change {
                if value.is_null() {
                    into.remove(&key).map(drop).unwrap_or_default()
                } else {
                    merge(into.entry(key).or_insert(Value::Null), value)
                }
            }
        }
        (into, change) => *into = change,
    }
}

fn summary(plan: &Plan) -> String {
    let steps = plan.steps.iter().map(|step| match &step.action {
        Action::Create { batches, .. } => format!("create {batches:?}: {:?}", step.reason),
        Action::Delete(pod) => format!("delete {}: {:?}", owner::name(&pod.metadata), step.reason),
        Action::SetOwners { pod, owners } => {
            format!("{:?} {} -> {} owners", step.reason, owner::name(&pod.metadata), owners.len())
        }
    });
    let status = &plan.status;
    let mut lines: Vec<String> = steps.collect();
    lines.push(format!(
        "replicas {} labeled {:?} ready {:?} available {:?} terminating {:?}",
        status.replicas,
        status.fully_labeled_replicas,
        status.ready_replicas,
        status.available_replicas,
        status.terminating_replicas
    ));
    lines.push(format!("waiting {:?} wake {:?}", plan.waiting, plan.wake_at));
    lines.join("\n")
}

fn check(replica_set: &ReplicaSet, pods: &[Arc<Pod>], expected: expect_test::Expect) {
    let plan = plan::<ReplicaSet>(&Snapshot { replica_set, pods, related: pods }, now());
    expected.assert_eq(&summary(&plan));
}

#[test]
fn missing_pods_are_made_in_growing_batches() {
    check(
        &replica_set(10),
        &[pod("a", json!({}))],
        expect_test::expect![[r#"
        create [1, 2, 4, 2]: TooFew
        replicas 1 labeled Some(1) ready Some(1) available Some(1) terminating Some(0)
        waiting [Available { missing: 9 }] wake None"#]],
    );
}

#[test]
fn a_pod_that_just_became_ready_is_waited_for() {
    let fresh =
        json!({"status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:09:55Z"}]}});
    check(
        &replica_set(2),
        &[pod("a", json!({})), pod("b", fresh)],
        expect_test::expect![[r#"
        replicas 2 labeled Some(2) ready Some(2) available Some(1) terminating Some(0)
        waiting [Available { missing: 1 }] wake Some(2026-01-01T00:10:05Z)"#]],
    );
}

#[test]
fn orphans_are_taken_in_and_strays_let_go_before_anything_else() {
    let pods = [
        pod("orphan", json!({"metadata": {"ownerReferences": null}})),
        pod("stray", json!({"metadata": {"labels": {"app": "debug"}}})),
        pod(
            "foreign",
            json!({"metadata": {"ownerReferences": [
            {"apiVersion": "v1", "kind": "X", "name": "x", "uid": "other", "controller": true}]}}),
        ),
        pod("leaving", json!({"metadata": {"deletionTimestamp": "2026-01-01T00:09:00Z"}})),
    ];
    check(
        &replica_set(3),
        &pods,
        expect_test::expect![[r#"
        Adopt orphan -> 1 owners
        Release stray -> 0 owners
        replicas 0 labeled None ready None available None terminating Some(1)
        waiting [Ownership, Available { missing: 3 }, Terminating { pods: 1 }] wake None"#]],
    );
}

#[test]
fn the_least_valuable_pods_go_first() {
    let not_ready = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}});
    let pods = [
        pod("steady", json!({})),
        pod(
            "young",
            json!({"status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:09:30Z"}]}}),
        ),
        pod(
            "restarting",
            json!({"spec": {"nodeName": "n2"}, "status": {"containerStatuses": [
            {"name": "c", "image": "i", "imageID": "", "ready": true, "restartCount": 7}]}}),
        ),
        pod("cheap", json!({"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "-1"}}})),
        pod("not-ready", not_ready),
        pod("pending", json!({"status": {"phase": "Pending", "conditions": null}})),
        pod("unassigned", json!({"spec": {"nodeName": null}, "status": null})),
    ];
    let order = first_to_go(&pods, &pods, 6, 0, now());
    let names: Vec<&str> = order.iter().map(|pod| owner::name(&pod.metadata)).collect();
    assert_eq!(names, ["unassigned", "pending", "not-ready", "cheap", "young", "steady"]);
}

#[test]
fn a_pod_that_is_not_available_yet_goes_before_one_that_is() {
    let since = |time: &str| json!({"status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": time}]}});
    let available = pod("available", since("2026-01-01T00:01:00Z"));
    let mut lonely = Pod::clone(&pod("ready", since("2026-01-01T00:09:55Z")));
    lonely.spec.as_mut().unwrap().node_name = Some("n2".to_owned());
    // Its node is less crowded, which counts for less.
    let pods = [available, Arc::new(lonely), pod("third", json!({}))];
    let gone = |min_ready_seconds| owner::name(&first_to_go(&pods, &pods, 1, min_ready_seconds, now())[0].metadata).to_owned();
    assert_eq!(gone(10), "ready");
    assert_ne!(gone(0), "ready");
}

#[test]
fn a_failure_is_a_condition_until_it_is_over() {
    let failed = with_failure(&replica_set(1), ReplicaSetStatus::default(), Reason::TooFew, "quota", now());
    let mut later = replica_set(1);
    later.status = Some(failed.clone());
    let again =
        with_failure(&later, ReplicaSetStatus::default(), Reason::TooFew, "quota", "2026-01-01T01:00:00Z".parse().unwrap());
    assert_eq!(failed, again);
    let plan = plan::<ReplicaSet>(&Snapshot { replica_set: &later, pods: &[], related: &[] }, now());
    assert_eq!(plan.status.conditions, None);
}

/// A node refuses every pod: ten are free, then pauses grow.
#[test]
fn failed_pods_are_replaced_after_pauses_that_grow() {
    let failed = |count: usize| -> Vec<Arc<Pod>> {
        let change = json!({ "metadata": { "creationTimestamp": "2026-01-01T00:09:59Z" }, "status": { "phase": "Failed" } });
        (0..count).map(|number| pod(&format!("failed-{number}"), change.clone())).collect()
    };
    let pause = |count: usize, replicas: i32| {
        let (pods, replica_set) = (failed(count), replica_set(replicas));
        let plan = plan::<ReplicaSet>(&Snapshot { replica_set: &replica_set, pods: &pods, related: &pods }, now());
        assert_eq!(plan.steps.is_empty(), plan.wake_at.is_some());
        plan.wake_at.map(|until| until.duration_since(now()).as_secs())
    };
    let pauses: Vec<Option<i64>> = (9..14).map(|count| pause(count, 1)).collect();
    assert_eq!(pauses, [None, None, Some(1), Some(3), Some(7)]);
    assert_eq!(pause(10_000, 1), Some(1023));
    assert_eq!([pause(200, 100), pause(300, 100)], [None, Some(1)], "many at once are no reason to wait");
}
