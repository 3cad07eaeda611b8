//! Nodes that all could take a pod, and the one that does.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, Service};
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
            "metadata": { "name": name, "labels": {
                "kubernetes.io/hostname": name, "zone": &name[..1], "topology.kubernetes.io/zone": &name[..1] } },
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
    for name in ["one", "two"] {
        cluster.place(pod(name, "default", Value::Null), "a1");
    }
    assert_eq!(goes_to(&cluster, &pod("new", "default", Value::Null)), "a2");
}

/// What the node is worth to the pod by the score.
fn score_of(cluster: &Cluster, node: &str, pod: &Pod, score: fn(&Candidate<'_>, &NodeState) -> i64) -> i64 {
    score(&Candidate::new(cluster.view(), pod, &PodVolumes::default()), cluster.node(node).unwrap())
}

fn asking(name: &str, requests: Value) -> Arc<Pod> {
    object(json!({
        "metadata": { "name": name, "uid": name, "namespace": "default" },
        "spec": { "containers": [{ "name": "c", "resources": { "requests": requests } }] },
    }))
}

#[test]
fn what_is_left_and_whether_it_is_left_evenly() {
    let mut cluster = cluster();
    cluster.place(asking("there", json!({ "cpu": "2" })), "b1");
    let both = asking("new", json!({ "cpu": "1", "memory": "1Gi" }));
    assert_eq!(score_of(&cluster, "a1", &both, room), (75 + 87) / 2);
    // Of memory, upstream's stand-in for those that do not say is counted as well.
    assert_eq!(score_of(&cluster, "b1", &both, room), (25 + 85) / 2);
    assert_eq!(score_of(&cluster, "a1", &asking("new", json!({ "cpu": "2", "memory": "4Gi" })), balance), 75);
    let memory = asking("new", json!({ "memory": "4Gi" }));
    assert_eq!(score_of(&cluster, "a1", &memory, balance), 62, "it would be less even");
    assert_eq!(score_of(&cluster, "b1", &memory, balance), 87, "and here more");
    assert_eq!(score_of(&cluster, "b1", &asking("new", json!({})), balance), 0);
}

#[test]
fn a_preference_counts_for_as_much_as_it_weighs() {
    let mut cluster = cluster();
    cluster.place(pod("there", "default", preferred("podAffinity", 1, json!({}))), "b1");
    let zone = |zone: &str, weight: i32| {
        let is_zone = json!({ "key": "zone", "operator": "In", "values": [zone] });
        json!({ "weight": weight, "preference": { "matchExpressions": [is_zone] } })
    };
    let wish = |[a, b]: [i32; 2]| {
        let terms = [zone("a", a), zone("b", b)];
        json!({ "nodeAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": terms } })
    };
    // Twenty points for zone a, and two hundred for company.
    assert_eq!(goes_to(&cluster, &pod("new", "default", wish([100, 90]))), "b1");
    assert_eq!(goes_to(&cluster, &pod("new", "default", wish([100, 0]))), "a1");
}

#[test]
fn the_more_is_disliked_the_less_one_more_matters() {
    let mut cluster = cluster();
    let taint = |count: usize| (0..count).map(|key| json!({ "key": key.to_string(), "effect": "PreferNoSchedule" })).collect();
    let disliked = |cluster: &mut Cluster, name: &str, taints: usize| {
        let mut node = Node::clone(cluster.node(name).unwrap().node());
        node.spec = serde_json::from_value(json!({ "taints": Value::Array(taint(taints)) })).unwrap();
        cluster.set_node(Arc::new(node));
    };
    ["a1", "a2"].into_iter().for_each(|name| disliked(&mut cluster, name, 2));
    disliked(&mut cluster, "b1", 3);
    assert_eq!(goes_to(&cluster, &pod("new", "default", Value::Null)), "a1");
    cluster.place(pod("there", "default", preferred("podAffinity", 1, json!({}))), "b1");
    assert_eq!(goes_to(&cluster, &pod("new", "default", Value::Null)), "b1");
    disliked(&mut cluster, "a1", 0);
    assert_eq!(goes_to(&cluster, &pod("new", "default", Value::Null)), "a1");
}

/// How crowded `a1`, `a2` and `b1` are for the pod.
fn crowded(cluster: &Cluster, pod: &Pod) -> [Option<i64>; 3] {
    let volumes = PodVolumes::default();
    let candidate = Candidate::new(cluster.view(), pod, &volumes);
    let nodes: Vec<&NodeState> = cluster.nodes().collect();
    let crowding = Crowding::new(&candidate, &nodes);
    ["a1", "a2", "b1"].map(|name| crowding.on(cluster.node(name).unwrap()))
}

/// A pod that an owner of this kind controls, where one is named.
fn owned(name: &str, kind: &str) -> Arc<Pod> {
    let mut owned = Pod::clone(&pod(name, "default", Value::Null));
    let version = if kind == "ReplicationController" { "v1" } else { "apps/v1" };
    let owner = json!([{ "apiVersion": version, "kind": kind, "name": "o", "uid": "o", "controller": true }]);
    owned.metadata.owner_references = serde_json::from_value(if kind.is_empty() { json!([]) } else { owner }).unwrap();
    Arc::new(owned)
}

#[test]
fn pods_that_are_alike_spread_over_hosts_and_zones() {
    for kind in ["ReplicaSet", "StatefulSet", "ReplicationController"] {
        let mut cluster = cluster();
        cluster.place(owned("there", kind), "a1");
        // 1 ln 5 + 2 for the host, 1 ln 4 + 4 for the zone.
        assert_eq!(crowded(&cluster, &owned("new", kind)), [Some(9), Some(7), Some(6)]);
        let mut going = Pod::clone(&owned("there", kind));
        going.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        cluster.place(Arc::new(going), "a1");
        assert_eq!(crowded(&cluster, &owned("new", kind)), [Some(6); 3], "one that goes is not counted");
    }
    let mut cluster = cluster();
    cluster.place(owned("there", ""), "a1");
    for kind in ["", "DaemonSet"] {
        assert_eq!(crowded(&cluster, &owned("new", kind)), [Some(0); 3]);
    }
    let service = |selector: Value| {
        object::<Service>(json!({ "metadata": { "name": "s", "namespace": "default" }, "spec": { "selector": selector } }))
    };
    cluster.set_service(service(json!({ "app": "web" })));
    for kind in ["", "DaemonSet"] {
        assert_eq!(crowded(&cluster, &owned("new", kind)), [Some(9), Some(7), Some(6)], "those of a Service are alike");
    }
    cluster.set_service(service(json!({ "app": "db" })));
    assert_eq!(crowded(&cluster, &owned("new", "")), [Some(0); 3]);
    cluster.set_service(service(json!({ "app": "web" })));
    cluster.remove_service(&service(json!({})));
    assert_eq!(crowded(&cluster, &owned("new", "")), [Some(0); 3]);
}

#[test]
fn pods_spread_as_they_wish() {
    let mut cluster = cluster();
    for number in 0..3 {
        cluster.place(pod(&format!("p{number}"), "default", Value::Null), "a1");
    }
    cluster.place(pod("other", "default", Value::Null), "b1");
    let wish = |constraints: Value| {
        let mut wish = Pod::clone(&pod("new", "default", Value::Null));
        wish.spec.as_mut().unwrap().topology_spread_constraints = serde_json::from_value(constraints).unwrap();
        wish
    };
    let constraint = |key: &str, skew: i32| {
        let web = json!({ "matchLabels": { "app": "web" } });
        json!({ "topologyKey": key, "maxSkew": skew, "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": web })
    };
    // 3 ln 4 and 1 ln 4.
    assert_eq!(crowded(&cluster, &wish(json!([constraint("zone", 1)]))), [Some(4), Some(4), Some(1)]);
    assert_eq!([4, 1].map(|crowded| uncrowded(crowded, (1, 4))), [25, 100]);
    // And by host 3 ln 5, 0 and 1 ln 5, and what more skew is allowed.
    let both = json!([constraint("zone", 1), constraint("kubernetes.io/hostname", 3)]);
    assert_eq!(crowded(&cluster, &wish(both)), [Some(11), Some(6), Some(5)]);
    let rack = json!([constraint("zone", 1), constraint("rack", 1)]);
    assert_eq!(crowded(&cluster, &wish(rack)), [None; 3], "a node without a label has no part in it");
    let mut all = constraint("zone", 1);
    all["labelSelector"] = json!({});
    assert_eq!(crowded(&cluster, &wish(json!([all]))), [Some(0); 3], "as upstream: everybody is nobody");
    let mut firm = constraint("zone", 1);
    firm["whenUnsatisfiable"] = json!("DoNotSchedule");
    assert_eq!(crowded(&cluster, &wish(json!([firm]))), [Some(0); 3], "what has to hold is no wish");
}

#[test]
fn images_draw_pods_unless_few_have_them() {
    let mut cluster = cluster();
    let have = |cluster: &mut Cluster, name: &str, size: i64| {
        let mut node = Node::clone(cluster.node(name).unwrap().node());
        let images = json!([{ "names": ["r.io/app@sha256:0", "r.io/app:latest"], "sizeBytes": size * 1024 * 1024 }]);
        node.status.as_mut().unwrap().images = serde_json::from_value(images).unwrap();
        cluster.set_node(Arc::new(node));
    };
    let wanting = |image: &str| {
        object::<Pod>(
            json!({ "metadata": { "name": "new", "uid": "new" }, "spec": { "containers": [{ "name": "c", "image": image }] } }),
        )
    };
    let images = |candidate: &Candidate<'_>, node: &NodeState| Images::new(candidate).on(node);
    have(&mut cluster, "b1", 600);
    assert_eq!(score_of(&cluster, "b1", &wanting("r.io/app"), images), (200 - 23) * 100 / (1000 - 23));
    assert_eq!(score_of(&cluster, "a1", &wanting("r.io/app"), images), 0);
    assert_eq!(score_of(&cluster, "b1", &wanting("r.io/app:2"), images), 0);
    have(&mut cluster, "a1", 600);
    assert_eq!(score_of(&cluster, "b1", &wanting("r.io/app:latest"), images), (400 - 23) * 100 / (1000 - 23));
    have(&mut cluster, "a2", 6000);
    assert_eq!(score_of(&cluster, "a2", &wanting("r.io/app"), images), 100);
}
