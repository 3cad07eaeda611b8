//! Silent nodes, their taints, and who may stay.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};

use super::*;

const GRACE: Grace = Grace { monitor: Duration::from_secs(50), startup: Duration::from_secs(60) };

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn node(ready: &str, taints: Value) -> Node {
    let value = json!({
        "metadata": {"name": "n1"}, "spec": {"taints": taints},
        "status": {"conditions": [
            {"type": "Ready", "status": ready}, {"type": "MemoryPressure", "status": "False"},
            {"type": "DiskPressure", "status": "False"}, {"type": "PIDPressure", "status": "False"}]}
    });
    serde_json::from_value(value).unwrap()
}

fn keys(taints: Option<Vec<k8s_openapi::api::core::v1::Taint>>) -> Vec<String> {
    taints.into_iter().flatten().map(|taint| format!("{}:{}", taint.key, taint.effect)).collect()
}

#[test]
fn silence_becomes_unknown_after_the_grace_period_and_once() {
    assert_eq!(health(&node("True", json!([])), at(0), GRACE, at(49)), Health::Heard { until: at(50) });
    let Health::Silent { conditions } = health(&node("True", json!([])), at(0), GRACE, at(50)) else { panic!("it is silent") };
    assert!(conditions.iter().all(|condition| condition.status == "Unknown"));
    let mut later = node("True", json!([]));
    later.status.as_mut().unwrap().conditions = Some(conditions);
    assert_eq!(health(&later, at(0), GRACE, at(100)), Health::KnownSilent);
}

#[test]
fn a_node_that_never_said_how_it_is_has_more_time() {
    let new: Node = serde_json::from_value(json!({"metadata": {"name": "n1"}})).unwrap();
    assert_eq!(health(&new, at(0), GRACE, at(59)), Health::Heard { until: at(60) });
    let Health::Silent { conditions } = health(&new, at(0), GRACE, at(60)) else { panic!("it is silent") };
    assert_eq!(conditions[0].reason.as_deref(), Some("NodeStatusNeverUpdated"));
}

#[test]
fn taints_follow_conditions_and_leave_others_alone() {
    let mine = json!([{"key": "gpu", "effect": "NoSchedule"}]);
    assert_eq!(taints(&node("True", mine.clone()), at(0)), None);
    let unreachable = taints(&node("Unknown", mine), at(5));
    let expected = ["gpu:NoSchedule", "node.kubernetes.io/unreachable:NoSchedule", "node.kubernetes.io/unreachable:NoExecute"];
    assert_eq!(keys(unreachable.clone()), expected);
    let mut back = node("True", json!([]));
    back.spec.as_mut().unwrap().taints = unreachable;
    assert_eq!(keys(taints(&back, at(9))), ["gpu:NoSchedule"]);
    // The one that the API server gives every new node goes when the node says that it is ready.
    let new = json!([{"key": TAINT_NOT_READY, "effect": "NoSchedule"}]);
    assert_eq!(taints(&node("True", new), at(9)), Some(Vec::new()));
}

#[test]
fn pods_stay_as_long_as_they_tolerate() {
    let tainted =
        node("Unknown", json!([{"key": TAINT_UNREACHABLE, "effect": "NoExecute", "timeAdded": "1970-01-01T00:00:10Z"}]));
    let pod = |tolerations: Value| {
        serde_json::from_value::<Pod>(json!({"spec": {"containers": [], "tolerations": tolerations}})).unwrap()
    };
    let tolerates = |seconds: Option<i64>| {
        pod(json!([{"key": TAINT_UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}]))
    };
    assert_eq!(stay(&pod(json!([])), &tainted, at(11)), Stay::Over);
    assert_eq!(stay(&tolerates(None), &tainted, at(1000)), Stay::ForGood);
    assert_eq!(stay(&tolerates(Some(300)), &tainted, at(11)), Stay::Until(at(310)));
    assert_eq!(stay(&tolerates(Some(300)), &tainted, at(310)), Stay::Over);
    assert_eq!(stay(&pod(json!([])), &node("True", json!([])), at(0)), Stay::ForGood);
}
