//! Small clusters that are full, and who goes.

use k8s_openapi::api::core::v1::Node;
use serde_json::{Value, json};

use super::*;
use crate::schedule::{Decision, decide};

fn object<T: serde::de::DeserializeOwned>(value: Value) -> Arc<T> {
    Arc::new(serde_json::from_value(value).unwrap())
}

fn cluster(nodes: &[&str]) -> Cluster {
    let mut cluster = Cluster::default();
    for name in nodes {
        let node: Arc<Node> = object(json!({
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
            "status": {"allocatable": {"cpu": "10", "pods": "110"}}
        }));
        cluster.set_node(node);
    }
    cluster
}

/// A pod that asks for so many CPUs.
fn pod(name: &str, priority: i32, cpu: &str) -> Arc<Pod> {
    object(json!({
        "metadata": {"name": name, "uid": name, "namespace": "default", "labels": {"app": name}},
        "spec": {"priority": priority, "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}
    }))
}

fn with(pod: &Pod, change: impl FnOnce(&mut Value)) -> Arc<Pod> {
    let mut value = serde_json::to_value(pod).unwrap();
    change(&mut value);
    object(value)
}

/// Started at that second.
fn started(pod: &Pod, second: u32) -> Arc<Pod> {
    with(pod, |pod| pod["status"] = json!({"startTime": format!("2026-01-01T00:00:{second:02}Z")}))
}

/// `node: victims`, or why nobody goes.
fn outcome(cluster: &Cluster, pod: &Pod) -> String {
    match decide(cluster, pod, &PodVolumes::default()) {
        Decision::Bind { node, .. } => format!("bound to {node}"),
        Decision::Unschedulable(why) => match why.preemption() {
            Preemption::Possible(victims) => {
                let names: Vec<&str> = victims.pods.iter().map(|pod| owner::name(&pod.metadata)).collect();
                format!("{}: {}", victims.node, names.join(" "))
            }
            _ => why.message().rsplit_once("preemption: ").unwrap().1.to_owned(),
        },
    }
}

fn budget(name: &str, app: &str, allowed: i32) -> Arc<PodDisruptionBudget> {
    object(json!({
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": app}}}, "status": {"disruptionsAllowed": allowed}
    }))
}

#[test]
fn as_few_go_as_have_to_and_the_most_important_stay() {
    let mut cluster = cluster(&["a"]);
    for (name, priority, cpu) in [("high", 9, "2"), ("mid", 5, "4"), ("low", 1, "2"), ("least", 0, "2")] {
        cluster.place(pod(name, priority, cpu), "a");
    }
    assert_eq!(outcome(&cluster, &pod("x", 7, "1")), "a: least");
    assert_eq!(outcome(&cluster, &pod("x", 7, "3")), "a: low least");
    assert_eq!(outcome(&cluster, &pod("x", 7, "5")), "a: mid least");
    // Even without all that may go.
    assert_eq!(outcome(&cluster, &pod("x", 7, "9")), "0/1 nodes are available: 1 Insufficient cpu.");
    let Decision::Unschedulable(why) = decide(&cluster, &pod("x", 7, "3"), &PodVolumes::default()) else { panic!("it is full") };
    assert_eq!(why.message(), "0/1 nodes are available: 1 Insufficient cpu.");
}

#[test]
fn nobody_goes_for_a_pod_of_equal_priority_or_one_that_may_not_ask_for_it() {
    let mut cluster = cluster(&["a"]);
    cluster.place(pod("first", 5, "8"), "a");
    assert_eq!(outcome(&cluster, &pod("x", 5, "4")), "0/1 nodes are available: 1 No preemption victims found for incoming pod.");
    let humble = with(&pod("x", 6, "4"), |pod| pod["spec"]["preemptionPolicy"] = json!("Never"));
    assert_eq!(outcome(&cluster, &humble), "not eligible due to preemptionPolicy=Never.");
    assert_eq!(outcome(&cluster, &pod("x", 6, "11")), "0/1 nodes are available: 1 Preemption is not helpful for scheduling.");
}

#[test]
fn of_equals_those_go_that_run_the_shortest() {
    let mut cluster = cluster(&["a"]);
    cluster.place(started(&pod("long", 0, "5"), 1), "a");
    cluster.place(started(&pod("short", 0, "5"), 9), "a");
    assert_eq!(outcome(&cluster, &pod("x", 1, "5")), "a: short");
    cluster.place(pod("short", 0, "5"), "a");
    assert_eq!(outcome(&cluster, &pod("x", 1, "5")), "a: short");
}

#[test]
fn a_node_is_chosen_by_what_is_lost_there() {
    let full = |on: &[(&str, &str, i32, &str)]| {
        let mut cluster = cluster(&["a", "b"]);
        for (node, name, priority, cpu) in on {
            cluster.place(pod(name, *priority, cpu), node);
        }
        outcome(&cluster, &pod("x", 9, "10"))
    };
    // The lowest highest priority, whatever the sum.
    assert_eq!(full(&[("a", "p", 3, "10"), ("b", "q", 2, "5"), ("b", "r", 2, "5")]), "b: q r");
    // The smallest sum.
    assert_eq!(full(&[("a", "p", 3, "5"), ("a", "q", 2, "5"), ("b", "r", 3, "5"), ("b", "s", 1, "5")]), "b: r s");
    // One of negative priority is not better for company.
    assert_eq!(full(&[("a", "p", -1, "5"), ("a", "q", -1, "5"), ("b", "r", -1, "10")]), "b: r");
    assert_eq!(full(&[("a", "p", 3, "10"), ("b", "q", 3, "10")]), "a: p");
    let mut cluster = cluster(&["a", "b"]);
    cluster.place(started(&pod("p", 3, "10"), 1), "a");
    cluster.place(started(&pod("q", 3, "10"), 2), "b");
    assert_eq!(outcome(&cluster, &pod("x", 9, "10")), "b: q");
}

#[test]
fn budgets_are_kept_where_that_is_possible() {
    let mut cluster = cluster(&["a", "b"]);
    cluster.place(pod("cheap", 1, "5"), "a");
    cluster.place(pod("dear", 3, "5"), "a");
    cluster.place(pod("other", 5, "10"), "b");
    assert_eq!(outcome(&cluster, &pod("x", 9, "5")), "a: cheap");
    cluster.set_budget(budget("cheap", "cheap", 0));
    assert_eq!(outcome(&cluster, &pod("x", 9, "5")), "a: dear", "the protected pod is given back first");
    cluster.set_budget(budget("dear", "dear", 0));
    assert_eq!(outcome(&cluster, &pod("x", 9, "5")), "b: other", "a node where no budget is overdrawn");
    cluster.set_budget(budget("other", "other", 0));
    assert_eq!(outcome(&cluster, &pod("x", 9, "5")), "a: cheap", "they are no promise");
    cluster.set_budget(budget("dear", "dear", 1));
    assert_eq!(outcome(&cluster, &pod("x", 9, "5")), "a: dear");
    cluster.remove_budget(&budget("cheap", "cheap", 0));
    assert_eq!(outcome(&cluster, &pod("x", 9, "5")), "a: cheap");
    // An empty selector covers every pod, one without labels too.
    let all = json!({"metadata": {"name": "all", "namespace": "default"}, "spec": {"selector": {}}, "status": {"disruptionsAllowed": 0}});
    cluster.set_budget(object(all));
    cluster.place(with(&pod("cheap", 1, "5"), |pod| pod["metadata"]["labels"] = Value::Null), "a");
    cluster.place(with(&pod("other", 5, "10"), |pod| pod["metadata"]["namespace"] = json!("elsewhere")), "b");
    assert_eq!(outcome(&cluster, &pod("x", 9, "5")), "b: other");
}

#[test]
fn ports_spread_and_company_are_counted_anew() {
    let mut full = cluster(&["a"]);
    let listening = |name: &str, priority| {
        with(&pod(name, priority, "1"), |pod| {
            pod["spec"]["containers"][0]["ports"] = json!([{"containerPort": 80, "hostPort": 80}]);
        })
    };
    full.place(listening("port", 0), "a");
    full.place(pod("other", 0, "1"), "a");
    assert_eq!(outcome(&full, &listening("x", 1)), "a: port");
    let avoiding = |name: &str, priority| {
        with(&pod(name, priority, "1"), |pod| {
            let term = json!({"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "other"}}});
            pod["spec"]["affinity"] = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}});
        })
    };
    assert_eq!(outcome(&full, &avoiding("x", 1)), "a: other");
    full.remove("other");
    full.place(avoiding("avoiding", 0), "a");
    assert_eq!(outcome(&full, &pod("other", 1, "1")), "a: avoiding");

    // Upstream's test: 1 and 3 pods; one of higher priority fits where two of the three go.
    let mut spread = cluster(&["a", "b"]);
    let member = |name: &str, priority, cpu: &str| {
        with(&pod(name, priority, cpu), |pod| pod["metadata"]["labels"] = json!({"app": "web"}))
    };
    spread.place(member("high", 9, "9"), "a");
    for name in ["low-1", "low-2", "low-3"] {
        spread.place(member(name, 0, "3"), "b");
    }
    let medium = with(&member("medium", 5, "3"), |pod| {
        pod["spec"]["topologySpreadConstraints"] = json!([{
            "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app": "web"}}
        }]);
    });
    assert_eq!(outcome(&spread, &medium), "b: low-2 low-3");
}

#[test]
fn room_that_is_made_for_one_pod_is_not_given_to_a_lesser_one() {
    let mut cluster = cluster(&["a"]);
    cluster.place(pod("first", 1, "8"), "a");
    let urgent = pod("urgent", 7, "6");
    assert_eq!(outcome(&cluster, &urgent), "a: first");
    cluster.nominate(Arc::clone(&urgent), "a");
    // The victim is gone; what was made in its place has to wait, as has a pod of the same priority.
    cluster.remove("first");
    assert_eq!(
        outcome(&cluster, &pod("first", 1, "8")),
        "0/1 nodes are available: 1 No preemption victims found for incoming pod."
    );
    assert_eq!(
        outcome(&cluster, &pod("equal", 7, "8")),
        "0/1 nodes are available: 1 No preemption victims found for incoming pod."
    );
    assert_eq!(outcome(&cluster, &pod("small", 1, "4")), "bound to a");
    assert_eq!(outcome(&cluster, &pod("higher", 8, "8")), "bound to a");
    assert_eq!(outcome(&cluster, &urgent), "bound to a");
    cluster.place(urgent, "a");
    assert_eq!(cluster.nominated_node("urgent"), None);
}

#[test]
fn who_waits_for_its_victims_to_end_asks_for_no_more_and_one_of_higher_priority_displaces_it() {
    let mut cluster = cluster(&["a", "b"]);
    let going = with(&pod("first", 1, "8"), |pod| {
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        pod["status"] =
            json!({"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]});
    });
    cluster.place(going, "a");
    cluster.place(pod("second", 1, "8"), "b");
    let urgent = pod("urgent", 5, "6");
    cluster.nominate(Arc::clone(&urgent), "a");
    assert_eq!(outcome(&cluster, &urgent), "not eligible due to a terminating pod on the nominated node.");
    let Decision::Unschedulable(why) = decide(&cluster, &pod("higher", 6, "6"), &PodVolumes::default()) else { panic!("full") };
    let Preemption::Possible(victims) = why.preemption() else { panic!("there are pods of lower priority") };
    assert_eq!((victims.node.as_str(), victims.displaced.len()), ("a", 1));
    // Somebody else's deletion is not waited for.
    cluster.place(with(&pod("first", 1, "8"), |pod| pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z")), "a");
    assert_eq!(outcome(&cluster, &urgent), "a: first");
}
