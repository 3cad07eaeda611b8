//! Nodes that all could take a pod, and the one that does.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::schedule::{Cluster, Decision, PodVolumes, decide};

fn object<T: serde::de::DeserializeOwned>(value: Value) -> Arc<T> {
    Arc::new(serde_json::from_value(value).unwrap())
}

/// Nodes `a1`, `a2`, `b1`: their first letters are their zones.
fn cluster() -> Cluster {
    let mut cluster = Cluster::default();
    for name in ["a1", "a2", "b1"] {
        cluster.set_node(object(json!({
            "metadata": { "name": name, "labels": { "kubernetes.io/hostname": name, "zone": &name[..1] } },
            "status": { "allocatable": { "cpu": "4", "memory": "8Gi", "pods": "10" } },
        })));
    }
    for (name, team) in [("default", "ours"), ("other", "theirs")] {
        cluster.set_namespace(object(json!({ "metadata": { "name": name, "labels": { "team": team } } })));
    }
    cluster
}

fn pod(name: &str, namespace: &str, affinity: Value) -> Arc<Pod> {
    object(json!({
        "metadata": { "name": name, "uid": name, "namespace": namespace, "labels": { "app": "web" } },
        "spec": { "containers": [], "affinity": affinity },
    }))
}

fn goes_to(cluster: &Cluster, pod: &Pod) -> String {
    match decide(cluster, pod, &PodVolumes::default()) {
        Decision::Bind { node, .. } => node,
        Decision::Unschedulable(why) => panic!("{}", why.message()),
    }
}

fn term(more: Value) -> Value {
    let mut term = json!({ "labelSelector": { "matchLabels": { "app": "web" } }, "topologyKey": "zone" });
    term.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    term
}

fn preferred(kind: &str, weight: i32, more: Value) -> Value {
    json!({ kind: { "preferredDuringSchedulingIgnoredDuringExecution": [{ "weight": weight, "podAffinityTerm": term(more) }] } })
}

fn required(kind: &str, more: Value) -> Value {
    json!({ kind: { "requiredDuringSchedulingIgnoredDuringExecution": [term(more)] } })
}

/// Where a pod without wishes goes when one with these is on `b1`; to `a1`, where there are fewer pods, if that one has no say.
fn beside(affinity: Value) -> String {
    let mut cluster = cluster();
    cluster.place(pod("there", "default", affinity), "b1");
    goes_to(&cluster, &pod("new", "default", Value::Null))
}

#[test]
fn those_that_are_there_like_company_or_not() {
    assert_eq!(beside(Value::Null), "a1");
    assert_eq!(beside(preferred("podAffinity", 1, json!({}))), "b1");
    assert_eq!(beside(required("podAffinity", json!({}))), "b1");
    assert_eq!(beside(preferred("podAffinity", 1, json!({ "labelSelector": { "matchLabels": { "app": "db" } } }))), "a1");
    assert_eq!(beside(preferred("podAffinity", 1, json!({ "topologyKey": "rack" }))), "a1");
    let mut cluster = cluster();
    cluster.place(pod("there", "default", preferred("podAntiAffinity", 1, json!({}))), "a2");
    assert_eq!(goes_to(&cluster, &pod("new", "default", Value::Null)), "b1");
    // It goes, and with it what it wished.
    cluster.remove("there");
    assert_eq!(goes_to(&cluster, &pod("new", "default", Value::Null)), "a1");
}

#[test]
fn the_wishes_of_those_that_are_there_add_up() {
    let mut cluster = cluster();
    cluster.place(pod("wants", "default", required("podAffinity", json!({}))), "b1");
    cluster.place(pod("likes", "default", preferred("podAffinity", 2, json!({ "topologyKey": "kubernetes.io/hostname" }))), "a2");
    assert_eq!(goes_to(&cluster, &pod("new", "default", Value::Null)), "a2");
    cluster.place(pod("dislikes", "default", preferred("podAntiAffinity", 2, json!({}))), "a1");
    assert_eq!(goes_to(&cluster, &pod("new", "default", Value::Null)), "b1");
    // What the new one itself prefers counts as well, for each that is there.
    let likes = preferred("podAffinity", 3, json!({}));
    assert_eq!(goes_to(&cluster, &pod("new", "default", likes)), "a2");
}

#[test]
fn the_wishes_of_those_that_are_there_name_namespaces() {
    let from = |namespace: &str, more: Value| {
        let mut cluster = cluster();
        cluster.place(pod("there", namespace, preferred("podAffinity", 1, more)), "b1");
        goes_to(&cluster, &pod("new", "default", Value::Null))
    };
    assert_eq!(from("other", json!({})), "a1");
    assert_eq!(from("other", json!({ "namespaces": ["default"] })), "b1");
    assert_eq!(from("other", json!({ "namespaceSelector": {} })), "b1");
    assert_eq!(from("other", json!({ "namespaceSelector": { "matchLabels": { "team": "ours" } } })), "b1");
    assert_eq!(from("default", json!({ "namespaceSelector": { "matchLabels": { "team": "theirs" } } })), "a1");
}

#[test]
fn wishes_are_found_where_they_are() {
    let mut cluster = cluster();
    let likes = pod("there", "default", preferred("podAffinity", 1, json!({})));
    // Its node is not known yet, comes, and goes again.
    cluster.remove_node("b1");
    cluster.place(Arc::clone(&likes), "b1");
    assert_eq!(goes_to(&cluster, &pod("new", "default", Value::Null)), "a1");
    let node = json!({
        "metadata": { "name": "b1", "labels": { "zone": "b" } },
        "status": { "allocatable": { "cpu": "4", "memory": "8Gi", "pods": "10" } },
    });
    cluster.set_node(object(node));
    assert_eq!(goes_to(&cluster, &pod("new", "default", Value::Null)), "b1");
    // It is moved.
    cluster.place(likes, "a2");
    ["one", "two"].into_iter().for_each(|name| cluster.place(pod(name, "default", Value::Null), "a1"));
    assert_eq!(goes_to(&cluster, &pod("new", "default", Value::Null)), "a2");
}
