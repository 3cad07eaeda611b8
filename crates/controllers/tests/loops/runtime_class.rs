//! Pods go where the runtime of their class is, with what it needs for itself.

use k8s_openapi::api::{
    core::v1::{Node, Pod},
    node::v1::RuntimeClass,
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    runtime::conditions::{is_deleted, is_pod_running},
};
use serde_json::{Value, json};

use crate::machine::Machine;

fn classes(machine: &Machine) -> Api<RuntimeClass> {
    Api::all(machine.client.clone())
}

/// The class `sandboxed`.
async fn class(machine: &Machine, handler: &str, rest: Value) {
    let mut class = json!({"metadata": {"name": "sandboxed"}, "handler": handler});
    class.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    classes(machine).create(&PostParams::default(), &serde_json::from_value(class).unwrap()).await.unwrap();
}

async fn pod(machine: &Machine, name: &str, selector: Value) -> Pod {
    let containers = json!([{"name": "test", "image": "busybox", "command": ["true"]}]);
    let spec = json!({"runtimeClassName": "sandboxed", "nodeSelector": selector, "containers": containers});
    machine.create(json!({"metadata": {"name": name}, "spec": spec})).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_goes_to_a_tainted_node_that_serves_its_class() {
    let machine = Machine::start(2).await;
    for (label, value) in [("foo", "bar"), ("fizz", "buzz")] {
        machine.label_node("node-2", label, value).await;
    }
    let taint = json!({"key": "foo", "value": "bar", "effect": "NoSchedule"});
    let nodes: Api<Node> = Api::all(machine.client.clone());
    let change = json!({"spec": {"taints": [taint]}});
    nodes.patch("node-2", &PatchParams::default(), &Patch::Strategic(&change)).await.unwrap();
    let toleration = json!({"key": "foo", "operator": "Equal", "value": "bar", "effect": "NoSchedule"});
    let scheduling = json!({"nodeSelector": {"foo": "bar", "fizz": "buzz"}, "tolerations": [toleration]});
    class(&machine, "test-handler", json!({"scheduling": scheduling})).await;
    let made = pod(&machine, "a", json!({"foo": "bar"})).await.spec.unwrap();
    assert_eq!(json!(made.node_selector), json!({"foo": "bar", "fizz": "buzz"}));
    assert_eq!(json!(made.tolerations)[0], toleration);
    machine.until("a", is_pod_running()).await;
    assert_eq!(machine.api::<Pod>().get("a").await.unwrap().spec.unwrap().node_name.as_deref(), Some("node-2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overhead_takes_room() {
    let machine = Machine::start(1).await;
    class(&machine, "runc", json!({"overhead": {"podFixed": {"cpu": "600"}}})).await;
    pod(&machine, "a", json!({})).await;
    machine.until("a", is_pod_running()).await;
    pod(&machine, "b", json!({})).await;
    let why = "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are available: \
               1 No preemption victims found for incoming pod.";
    machine.until_event("b", &format!("FailedScheduling: {why}")).await;
    machine.api::<Pod>().delete("a", &DeleteParams::default()).await.unwrap();
    machine.until("b", is_pod_running()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_waits_for_the_runtime_of_its_class() {
    let machine = Machine::start(1).await;
    class(&machine, "kata", json!({})).await;
    let gone = pod(&machine, "gone", json!({})).await;
    pod(&machine, "waits", json!({})).await;
    let why = "failed to get sandbox runtime: no runtime for \"kata\" is configured";
    for name in ["gone", "waits"] {
        machine.until_event(name, &format!("FailedCreatePodSandBox: Failed to create pod sandbox: {why}")).await;
        let now = machine.api::<Pod>().get(name).await.unwrap();
        assert_eq!(now.status.unwrap().phase.as_deref(), Some("Pending"));
    }
    machine.api::<Pod>().delete("gone", &DeleteParams::default()).await.unwrap();
    machine.until("gone", is_deleted::<Pod>(gone.metadata.uid.as_deref().unwrap())).await;
    classes(&machine).delete("sandboxed", &DeleteParams::default()).await.unwrap();
    let why = "runtimeclass.node.k8s.io \"sandboxed\" not found";
    machine.until_event("waits", &format!("FailedCreatePodSandBox: Failed to create pod sandbox: {why}")).await;
    class(&machine, "runc", json!({})).await;
    machine.until("waits", is_pod_running()).await;
}
