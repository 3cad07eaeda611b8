//! Places go to the most urgent pods.

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
