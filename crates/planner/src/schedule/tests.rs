//! Small clusters and where pods go in them.

use std::sync::Arc;

use expect_test::{Expect, expect};
use k8s_openapi::api::core::v1::Node;
use serde_json::{Value, json};

use super::*;

fn node(name: &str, spec: Value) -> Arc<Node> {
    let value = json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "zone": &name[..1]}},
        "spec": spec,
        "status": {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "3"}}
    });
    Arc::new(serde_json::from_value(value).unwrap())
}

fn pod(name: &str, spec: Value) -> Arc<Pod> {
    let mut value = json!({
        "metadata": {"name": name, "uid": name, "namespace": "default", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}}}]}
    });
    value["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    Arc::new(serde_json::from_value(value).unwrap())
}

fn cluster(nodes: &[Arc<Node>]) -> Cluster {
    let mut cluster = Cluster::default();
    for node in nodes {
        cluster.set_node(Arc::clone(node));
    }
    cluster
}

fn two() -> Cluster {
    cluster(&[node("a1", json!({})), node("b1", json!({}))])
}

fn check(cluster: &Cluster, pod: &Pod, expected: Expect) {
    let text = match decide(cluster, pod, &PodVolumes::default()) {
        Decision::Bind { node, .. } => node,
        Decision::Unschedulable(unschedulable) => unschedulable.message(),
    };
    expected.assert_eq(&text);
}

#[test]
fn pods_of_one_workload_go_to_the_emptier_node() {
    let mut cluster = two();
    for expected in ["a1", "b1", "a1", "b1"] {
        let pod = pod(&format!("p{}", cluster.placed().count()), json!({}));
        let Decision::Bind { node, .. } = decide(&cluster, &pod, &PodVolumes::default()) else { panic!("there is room") };
        assert_eq!(node, expected);
        cluster.place(pod, &node);
    }
}

#[test]
fn every_reason_is_counted() {
    let mut cluster = cluster(&[
        node("a1", json!({"unschedulable": true})),
        node("a2", json!({"taints": [{"key": "gpu", "effect": "NoSchedule"}]})),
        node("b1", json!({})),
        node("b2", json!({})),
    ]);
    for number in 0..3 {
        cluster.place(pod(&format!("p{number}"), json!({})), "b1");
    }
    let hungry = pod("x", json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "3", "memory": "1Gi"}}}]}));
    check(
        &cluster,
        &hungry,
        expect![
            "0/4 nodes are available: 1 Too many pods, 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable, 2 Insufficient cpu. no new claims to deallocate, preemption: 0/4 nodes are available: 4 Preemption is not helpful for scheduling."
        ],
    );
    check(&Cluster::default(), &hungry, expect!["no nodes available to schedule pods"]);
}

#[test]
fn a_full_node_has_room_again_when_a_pod_goes() {
    let mut cluster = cluster(&[node("a1", json!({}))]);
    let large = |name: &str| pod(name, json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "1500m"}}}]}));
    cluster.place(large("first"), "a1");
    check(
        &cluster,
        &large("second"),
        expect![
            "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
        ],
    );
    assert!(cluster.remove("first"));
    check(&cluster, &large("second"), expect!["a1"]);
}

#[test]
fn selectors_and_affinity_of_nodes() {
    check(&two(), &pod("x", json!({"nodeSelector": {"zone": "b"}})), expect!["b1"]);
    check(
        &two(),
        &pod("x", json!({"nodeSelector": {"zone": "c"}})),
        expect![
            "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector. no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
        ],
    );
    let preferred = json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 10, "preference": {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["b"]}]}}]}}});
    check(&two(), &pod("x", preferred), expect!["b1"]);
}

#[test]
fn nodes_that_are_named_are_the_only_ones() {
    let named = |terms: Value| {
        pod(
            "x",
            json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}}),
        )
    };
    let name = |names: Value| json!({"key": "metadata.name", "operator": "In", "values": names});
    let mut cluster = two();
    check(&cluster, &named(json!([{"matchFields": [name(json!(["b1"]))]}])), expect!["b1"]);
    cluster.set_node(node("a1", json!({"unschedulable": true})));
    cluster.set_node(node("b1", json!({"unschedulable": true})));
    check(
        &cluster,
        &named(json!([{"matchFields": [name(json!(["b1"]))]}])),
        expect![
            "0/2 nodes are available: 1 node(s) didn't satisfy plugin(s) [NodeAffinity], 1 node(s) were unschedulable. no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
        ],
    );
    check(
        &cluster,
        &named(json!([{"matchFields": [name(json!(["a1"])), name(json!(["b1"]))]}])),
        expect![
            "0/2 nodes are available: pod affinity terms conflict. no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
        ],
    );
    // Another term names none: every node is looked at.
    let either = json!([{"matchFields": [name(json!(["b1"]))]}, {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["c"]}]}]);
    check(
        &two(),
        &pod("x", {
            let mut spec = json!({"nodeSelector": {"zone": "c"}});
            spec["affinity"] = serde_json::to_value(named(either).spec.as_ref().unwrap().affinity.as_ref()).unwrap();
            spec
        }),
        expect![
            "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector. no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
        ],
    );
}

#[test]
fn company_is_looked_for_in_namespaces_by_name_and_by_label() {
    let mut cluster = two();
    for (name, team) in [("default", "ours"), ("other", "theirs")] {
        let namespace = json!({"metadata": {"name": name, "labels": {"team": team}}});
        assert!(cluster.set_namespace(Arc::new(serde_json::from_value(namespace.clone()).unwrap())));
        assert!(!cluster.set_namespace(Arc::new(serde_json::from_value(namespace).unwrap())), "nothing new");
    }
    let mut company = Pod::clone(&pod("company", json!({})));
    company.metadata.namespace = Some("other".to_owned());
    cluster.place(Arc::new(company), "b1");
    let fits = |cluster: &Cluster, more: Value| {
        let mut term = json!({"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "zone"});
        term.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let away = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}});
        match decide(cluster, &pod("x", json!({"affinity": away, "nodeSelector": {"zone": "b"}})), &PodVolumes::default()) {
            Decision::Bind { .. } => "beside it",
            Decision::Unschedulable(_) => "elsewhere",
        }
    };
    assert_eq!(fits(&cluster, json!({})), "beside it");
    assert_eq!(fits(&cluster, json!({"namespaces": ["other"]})), "elsewhere");
    assert_eq!(fits(&cluster, json!({"namespaceSelector": {}})), "elsewhere");
    assert_eq!(fits(&cluster, json!({"namespaceSelector": {"matchLabels": {"team": "theirs"}}})), "elsewhere");
    assert_eq!(fits(&cluster, json!({"namespaceSelector": {"matchLabels": {"team": "ours"}}})), "beside it");
    let both = json!({"namespaceSelector": {"matchLabels": {"team": "ours"}}, "namespaces": ["other"]});
    assert_eq!(fits(&cluster, both), "elsewhere");
}

#[test]
fn a_toleration_opens_a_tainted_node() {
    let cluster = cluster(&[node("a1", json!({"taints": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]}))]);
    let tolerant =
        |operator: &str, value: &str| pod("x", json!({"tolerations": [{"key": "gpu", "operator": operator, "value": value}]}));
    check(&cluster, &tolerant("Equal", "yes"), expect!["a1"]);
    check(&cluster, &tolerant("Exists", ""), expect!["a1"]);
    check(
        &cluster,
        &tolerant("Equal", "no"),
        expect![
            "0/1 nodes are available: 1 node(s) had untolerated taint(s). no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
        ],
    );
}

#[test]
fn host_ports_are_taken_once() {
    let mut cluster = cluster(&[node("a1", json!({}))]);
    let listening = |name: &str, ip: &str| {
        pod(name, json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 80, "hostIP": ip}]}]}))
    };
    cluster.place(listening("first", "127.0.0.1"), "a1");
    check(&cluster, &listening("second", "127.0.0.2"), expect!["a1"]);
    check(
        &cluster,
        &listening("second", ""),
        expect![
            "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports. no new claims to deallocate, preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
        ],
    );
}

#[test]
fn pods_keep_each_other_company_or_away() {
    let mut cluster = two();
    let term = json!([{"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "zone"}]);
    let towards = json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term}}});
    let away = json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term}}});
    check(&cluster, &pod("first", towards.clone()), expect!["a1"]);
    cluster.place(pod("first", json!({})), "b1");
    check(&cluster, &pod("second", towards), expect!["b1"]);
    check(&cluster, &pod("second", away.clone()), expect!["a1"]);
    cluster.place(pod("second", away.clone()), "a1");
    check(
        &cluster,
        &pod("third", away),
        expect![
            "0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules. no new claims to deallocate, preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod."
        ],
    );
    check(
        &cluster,
        &pod("third", json!({"nodeSelector": {"zone": "a"}})),
        expect![
            "0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) didn't satisfy existing pods anti-affinity rules. no new claims to deallocate, preemption: 0/2 nodes are available: 1 No preemption victims found for incoming pod, 1 Preemption is not helpful for scheduling."
        ],
    );
}

#[test]
fn company_is_one_pod_that_every_term_is_about() {
    let mut cluster = two();
    let term = |key: &str, app: &str| json!({"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": key});
    let labelled = |name: &str, labels: Value| {
        let mut pod = Pod::clone(&pod(name, json!({})));
        pod.metadata.labels = serde_json::from_value(labels).unwrap();
        Arc::new(pod)
    };
    cluster.place(labelled("first", json!({"app": "web"})), "b1");
    cluster.place(labelled("second", json!({"tier": "front"})), "b1");
    let mut tier = term("zone", "web");
    tier["labelSelector"] = json!({"matchLabels": {"tier": "front"}});
    let towards = json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term("kubernetes.io/hostname", "web"), tier]}}});
    let company = pod("third", towards);
    check(
        &cluster,
        &company,
        expect![
            "0/2 nodes are available: 2 node(s) didn't match pod affinity rules. no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
        ],
    );
    cluster.place(labelled("second", json!({"app": "web", "tier": "front"})), "b1");
    check(&cluster, &company, expect!["b1"]);
}

#[test]
fn a_node_without_a_label_is_left_out_of_all_constraints() {
    let unlabelled =
        json!({"metadata": {"name": "c1", "labels": {"kubernetes.io/hostname": "c1"}}, "status": {"allocatable": {"cpu": "2"}}});
    let mut cluster = cluster(&[node("a1", json!({})), Arc::new(serde_json::from_value(unlabelled).unwrap())]);
    cluster.place(pod("first", json!({})), "a1");
    let constraint = |key: &str, selector: Value| json!({"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": selector});
    let web = json!({"matchLabels": {"app": "web"}});
    let both = json!({"topologySpreadConstraints": [constraint("zone", web.clone()), constraint("kubernetes.io/hostname", web)]});
    check(&cluster, &pod("second", both), expect!["a1"]);
    // As upstream: a constraint on everybody counts nobody.
    let mut cluster = two();
    cluster.place(pod("first", json!({})), "a1");
    let mut pinned = json!({"topologySpreadConstraints": [constraint("zone", json!({}))], "nodeSelector": {"zone": "a"}});
    pinned["topologySpreadConstraints"][0]["nodeAffinityPolicy"] = json!("Ignore");
    check(&cluster, &pod("second", pinned), expect!["a1"]);
}

#[test]
fn pods_spread_over_zones() {
    let mut cluster = two();
    let spread = json!({"topologySpreadConstraints": [{
        "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "web"}}}]});
    cluster.place(pod("first", json!({})), "a1");
    check(&cluster, &pod("second", spread.clone()), expect!["b1"]);
    let pinned = pod("second", {
        let mut both = spread;
        both["nodeSelector"] = json!({"kubernetes.io/hostname": "a1"});
        both["topologySpreadConstraints"][0]["nodeAffinityPolicy"] = json!("Ignore");
        both
    });
    check(
        &cluster,
        &pinned,
        expect![
            "0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) didn't match pod topology spread constraints. no new claims to deallocate, preemption: 0/2 nodes are available: 1 No preemption victims found for incoming pod, 1 Preemption is not helpful for scheduling."
        ],
    );
}

/// The pod, on its way out.
fn going(pod: &Pod) -> Arc<Pod> {
    let mut pod = pod.clone();
    pod.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    Arc::new(pod)
}

#[test]
fn a_pod_that_goes_is_not_spread_from_but_kept_away_from() {
    let mut cluster = cluster(&[node("a1", json!({}))]);
    let first = pod("first", json!({}));
    cluster.place(Arc::clone(&first), "a1");
    cluster.set_node(node("b1", json!({"unschedulable": true})));
    let term = json!({"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "zone"});
    let mut constraint = term.clone();
    constraint
        .as_object_mut()
        .unwrap()
        .extend([("maxSkew".to_owned(), json!(1)), ("whenUnsatisfiable".to_owned(), json!("DoNotSchedule"))]);
    let spread = pod("second", json!({"topologySpreadConstraints": [constraint]}));
    assert!(matches!(decide(&cluster, &spread, &PodVolumes::default()), Decision::Unschedulable(_)));
    cluster.place(going(&first), "a1");
    check(&cluster, &spread, expect!["a1"]);
    let away = json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}});
    let why = |cluster: &Cluster, spec: Value| match decide(cluster, &pod("second", spec), &PodVolumes::default()) {
        Decision::Bind { node, .. } => node,
        Decision::Unschedulable(why) => why.rejections().keys().cloned().collect::<Vec<_>>().join(", "),
    };
    assert_eq!(why(&cluster, away.clone()), "node(s) didn't match pod anti-affinity rules, node(s) were unschedulable");
    cluster.place(going(&pod("first", away)), "a1");
    assert_eq!(why(&cluster, json!({})), "node(s) didn't satisfy existing pods anti-affinity rules, node(s) were unschedulable");
}

#[test]
fn a_pod_asks_for_its_hungriest_moment() {
    let spec = serde_json::from_value(json!({
        "containers": [{"name": "a", "resources": {"requests": {"cpu": "100m"}}}, {"name": "b", "resources": {"requests": {"cpu": "200m"}}}],
        "initContainers": [
            {"name": "i", "resources": {"requests": {"cpu": "250m"}}},
            {"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "50m"}}},
            {"name": "j", "resources": {"requests": {"cpu": "400m"}}}
        ],
        "overhead": {"cpu": "10m"}
    }));
    assert_eq!(Resources::of_pod(&spec.unwrap()).get("cpu"), 460);
}

#[test]
fn a_heartbeat_is_no_reason_to_try_again() {
    let mut cluster = two();
    let mut beat = Node::clone(&node("a1", json!({})));
    beat.metadata.resource_version = Some("7".to_owned());
    assert!(!cluster.set_node(Arc::new(beat)));
    assert!(cluster.set_node(node("a1", json!({"unschedulable": true}))));
}

/// Whoever waits for room is tried again when a pod is resized to less, or asks for what it can never have.
#[test]
fn a_pod_that_holds_less_says_so() {
    let mut cluster = cluster(&[node("a", json!({}))]);
    let asking = |cpu: &str, status: Value| {
        let container = json!({"name": "c", "resources": {"requests": {"cpu": cpu}}});
        let mut pod = Pod::clone(&pod("web", json!({"containers": [container]})));
        pod.status = Some(serde_json::from_value(status).unwrap());
        Arc::new(pod)
    };
    let has = |cpu: &str, conditions: Value| {
        let requests = json!({"cpu": cpu});
        let container = json!({"name": "c", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                               "allocatedResources": requests, "resources": {"requests": requests}});
        json!({"containerStatuses": [container], "conditions": conditions})
    };
    assert!(!cluster.place(asking("1", has("1", json!([]))), "a"));
    assert!(!cluster.place(asking("100", has("1", json!([]))), "a"), "the wish counts");
    let infeasible = json!([{"type": "PodResizePending", "status": "True", "reason": "Infeasible"}]);
    assert!(cluster.place(asking("100", has("1", infeasible)), "a"));
    assert!(!cluster.place(asking("500m", has("1", json!([]))), "a"), "it has it still");
    assert!(cluster.place(asking("500m", has("500m", json!([]))), "a"));
    assert_eq!(cluster.node("a").unwrap().requested().get("cpu"), 500);
}
