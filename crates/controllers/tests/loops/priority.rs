//! Places go to the most urgent pods, and others go for them.

use k8s_openapi::api::{
    core::v1::{Node, Pod},
    scheduling::v1::PriorityClass,
};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
    runtime::conditions::is_pod_running,
};
use serde_json::{Value, json};

use crate::machine::Machine;

/// A machine with one node, and the classes `low` and `high`.
async fn machine(policy: &str) -> Machine {
    let machine = Machine::start(1).await;
    let classes: Api<PriorityClass> = Api::all(machine.client.clone());
    for (name, value) in [("low", 1), ("high", 1000)] {
        let class = json!({"metadata": {"name": name}, "value": value, "preemptionPolicy": policy});
        classes.create(&PostParams::default(), &serde_json::from_value(class).unwrap()).await.unwrap();
    }
    machine
}

/// Something that the node has so much of.
async fn give(machine: &Machine, amount: &str) {
    let nodes: Api<Node> = Api::all(machine.client.clone());
    let has = json!({"example.com/x": amount});
    let change = json!({"status": {"capacity": has, "allocatable": has}});
    nodes.patch_status("node-1", &PatchParams::default(), &Patch::Merge(&change)).await.unwrap();
}

fn pod(name: &str, class: &str) -> Value {
    let one = json!({"example.com/x": "1"});
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {
            "priorityClassName": class, "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "c", "image": "i", "resources": {"requests": one, "limits": one}}]
        }
    })
}

fn is_parked(pod: Option<&Pod>) -> bool {
    let conditions = pod.and_then(|pod| pod.status.as_ref()?.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|condition| condition.reason.as_deref() == Some("Unschedulable")))
}

fn nominated(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.nominated_node_name.as_deref()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_most_urgent_pod_gets_the_place() {
    let machine = machine("Never").await;
    for (name, class) in [("a", "low"), ("b", "low"), ("c", "low"), ("z", "high")] {
        machine.create::<Pod>(pod(name, class)).await;
        machine.until(name, is_parked).await;
    }
    give(&machine, "1").await;
    machine.until("z", is_pod_running()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_of_low_priority_goes_for_one_of_high_priority() {
    let machine = machine("PreemptLowerPriority").await;
    give(&machine, "1").await;
    let mut kept = pod("victim", "low");
    kept["metadata"]["finalizers"] = json!(["example.com/kept"]);
    machine.create::<Pod>(kept).await;
    machine.until("victim", is_pod_running()).await;
    let preemptor = machine.create::<Pod>(pod("preemptor", "high")).await;
    machine.until("victim", |pod: Option<&Pod>| pod.is_some_and(|pod| pod.metadata.deletion_timestamp.is_some())).await;
    machine.until("preemptor", |pod: Option<&Pod>| pod.and_then(nominated) == Some("node-1")).await;
    let victim = machine.api::<Pod>().get("victim").await.unwrap();
    let target = victim.status.unwrap().conditions.unwrap().into_iter().find(|condition| condition.type_ == "DisruptionTarget");
    let target = target.unwrap();
    assert_eq!((target.status.as_str(), target.reason.as_deref()), ("True", Some("PreemptionByScheduler")));
    assert_eq!(target.message.as_deref(), Some("default-scheduler: preempting to accommodate a higher priority pod"));
    let uid = preemptor.metadata.uid.unwrap();
    machine.until_event("victim", &format!("Preempted: Preempted by pod {uid} on node node-1")).await;
    // What the victim leaves is not for those who wait as well, and have been there for longer.
    machine.create::<Pod>(pod("another", "low")).await;
    machine.until("another", is_parked).await;
    machine.patch::<Pod>("victim", json!({"metadata": {"finalizers": null}})).await;
    machine.until("preemptor", is_pod_running()).await;
    let placed = machine.api::<Pod>().get("preemptor").await.unwrap();
    assert_eq!(nominated(&placed), None, "it is where it was nominated for");
    assert!(is_parked(Some(&machine.api::<Pod>().get("another").await.unwrap())));
}
