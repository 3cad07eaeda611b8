//! A manifest with a mistake goes in, upstream's messages come out.

mod batch;
mod config;
mod features;
mod metadata;
mod pod_changes;
mod pods;
mod services;
mod small;
mod storage;
mod workloads;

use expect_test::Expect;
use serde_json::{Value, json};

use super::FieldError;
use crate::defaults;

fn lines(errors: &[FieldError]) -> String {
    errors.iter().map(|error| format!("{error}\n")).collect()
}

/// Checks a new object after defaulting, as the API server does.
#[expect(clippy::needless_pass_by_value, reason = "a fixture written in place reads better")]
fn create(group: &str, kind: &str, mut object: Value, expected: Expect) {
    defaults::apply(group, kind, &mut object);
    expected.assert_eq(&lines(&super::create(group, kind, &object)));
}

/// Checks a change of an object that is fine as it is.
#[expect(clippy::needless_pass_by_value, reason = "a fixture written in place reads better")]
fn update(group: &str, kind: &str, mut old: Value, change: fn(&mut Value), expected: Expect) {
    defaults::apply(group, kind, &mut old);
    assert_eq!(lines(&super::create(group, kind, &old)), "", "the fixture itself");
    let mut new = old.clone();
    change(&mut new);
    defaults::apply(group, kind, &mut new);
    expected.assert_eq(&lines(&super::update(group, kind, &new, &old)));
}

#[expect(clippy::needless_pass_by_value, reason = "a fixture written in place reads better")]
fn warn(group: &str, kind: &str, mut object: Value, expected: Expect) {
    defaults::apply(group, kind, &mut object);
    let warnings = super::warnings(group, kind, &object);
    expected.assert_eq(&warnings.iter().map(|warning| format!("{warning}\n")).collect::<String>());
}

/// A pod of one container, changed by `change`.
fn pod(change: impl FnOnce(&mut Value)) -> Value {
    let mut pod = json!({
        "metadata": { "name": "web", "namespace": "default" },
        "spec": { "containers": [{ "name": "web", "image": "nginx" }] },
    });
    change(&mut pod["spec"]);
    pod
}

fn deployment(change: impl FnOnce(&mut Value)) -> Value {
    let mut deployment = json!({
        "metadata": { "name": "web", "namespace": "default" },
        "spec": {
            "selector": { "matchLabels": { "app": "web" } },
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": { "containers": [{ "name": "web", "image": "nginx" }] },
            },
        },
    });
    change(&mut deployment["spec"]);
    deployment
}

/// No kind may panic, whatever type a value has.
#[test]
fn rules_are_total() {
    let kinds = [
        ("", "Pod"),
        ("", "Service"),
        ("", "ConfigMap"),
        ("", "Secret"),
        ("", "Namespace"),
        ("", "Node"),
        ("", "Event"),
        ("", "Endpoints"),
        ("", "LimitRange"),
        ("", "ResourceQuota"),
        ("", "PersistentVolume"),
        ("", "PersistentVolumeClaim"),
        ("", "ReplicationController"),
        ("apps", "Deployment"),
        ("apps", "ReplicaSet"),
        ("apps", "StatefulSet"),
        ("apps", "DaemonSet"),
        ("apps", "ControllerRevision"),
        ("coordination.k8s.io", "Lease"),
        ("discovery.k8s.io", "EndpointSlice"),
        ("events.k8s.io", "Event"),
        ("node.k8s.io", "RuntimeClass"),
        ("policy", "PodDisruptionBudget"),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
        ("scheduling.k8s.io", "PriorityClass"),
        ("storage.k8s.io", "StorageClass"),
    ];
    let shapes = [
        json!(null),
        json!(7),
        json!("text"),
        json!([]),
        json!({}),
        json!({ "metadata": 1, "spec": "x", "status": [], "data": 2, "subsets": {}, "ports": "p", "rules": 4 }),
        json!({ "overhead": [], "scheduling": { "nodeSelector": [1], "tolerations": ["t", {}, {}] } }),
        json!({ "spec": { "template": [], "containers": {}, "selector": 5, "ports": [1, null], "limits": [[]], "hard": [] } }),
        json!({ "spec": { "template": { "spec": { "containers": [null, 3, {}], "volumes": [{}, "v"], "affinity": [] } } } }),
    ];
    for (group, kind) in kinds {
        for shape in &shapes {
            let mut object = shape.clone();
            defaults::apply(group, kind, &mut object);
            let _ = super::create(group, kind, &object);
            let _ = super::warnings(group, kind, &object);
            for other in &shapes {
                let _ = super::update(group, kind, &object, other);
                let _ = super::status(group, kind, other, &object);
            }
        }
    }
}
