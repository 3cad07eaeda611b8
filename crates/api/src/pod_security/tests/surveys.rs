//! What is told of pods that are there already, as upstream's `TestValidateNamespace` expects it.

use serde_json::{Value, json};

use super::latest;
use crate::pod_security::{Level, Survey, by_controller};

fn pod(name: &str, spec: Value, controller: Option<&str>) -> Value {
    let owners: Vec<Value> = controller.iter().map(|uid| json!({ "uid": uid, "controller": true })).collect();
    json!({ "metadata": { "name": name, "ownerReferences": owners }, "spec": spec })
}

#[test]
fn the_same_faults_are_told_once() {
    let host = || json!({ "hostPID": true });
    let mut survey = Survey::of(latest(Level::Baseline));
    for pod in [
        pod("web-2", host(), None),
        pod("web-1", host(), None),
        pod("fine", json!({}), None),
        pod("web-3", host(), None),
        pod("two", json!({ "hostPID": true, "volumes": [{ "name": "v", "hostPath": {} }] }), None),
        pod("b", json!({ "volumes": [{ "name": "v", "hostPath": {} }] }), None),
        pod("a", json!({ "volumes": [{ "name": "w", "hostPath": {} }] }), None),
    ] {
        survey.see(&pod);
    }
    let expected = [
        "new PodSecurity enforce level only checked against the first 7 of 9 existing pods",
        "existing pods in namespace \"test\" violate the new PodSecurity enforce level \"baseline:latest\"",
        "a (and 1 other pod): hostPath volumes",
        "two: host namespaces, hostPath volumes",
        "web-1 (and 2 other pods): host namespaces",
    ];
    assert_eq!(survey.warnings("test", 9), expected);
    let mut survey = Survey::of(latest(Level::Baseline));
    survey.see(&pod("fine", json!({}), None));
    assert_eq!(survey.warnings("test", 1), Vec::<String>::new());
}

#[test]
fn one_pod_of_each_controller_comes_first() {
    let pods = [
        ("a1", Some("a")),
        ("a2", Some("a")),
        ("b1", Some("b")),
        ("a3", Some("a")),
        ("own", None),
        ("b2", Some("b")),
        ("other", None),
    ];
    let pods = pods.into_iter().map(|(name, controller)| pod(name, json!({}), controller)).collect();
    let order: Vec<String> =
        by_controller(pods).iter().filter_map(|pod| pod["metadata"]["name"].as_str().map(str::to_owned)).collect();
    assert_eq!(order, ["a1", "b1", "own", "other", "a2", "a3", "b2"]);
}
