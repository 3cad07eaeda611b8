//! Pods whose resources are changed while they run.

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api,
    api::{Patch, PatchParams},
    runtime::wait::await_condition,
};
use serde_json::{Value, json};
use windlass_api::quantity::Quantity;

use crate::world::{World, condition, first, phase};

fn cpu(millis: i64) -> Value {
    json!({ "requests": { "cpu": format!("{millis}m"), "memory": "64Mi" }, "limits": { "memory": "128Mi" } })
}

/// A pod with one container that asks for so much, once it runs.
async fn running(world: &World, name: &str, millis: i64, policy: &str) {
    let policy = json!([{ "resourceName": "cpu", "restartPolicy": policy }]);
    let container = json!({ "name": "web", "image": "a:1", "resources": cpu(millis), "resizePolicy": policy });
    world.create(name, json!({ "restartPolicy": "OnFailure", "containers": [container] })).await;
    world.wait(name, "ready", |pod| condition(pod, "Ready")).await;
}

async fn resize(world: &World, name: &str, resources: Value) {
    let patch = json!({ "spec": { "containers": [{ "name": "web", "resources": resources }] } });
    world.pods().patch_subresource("resize", name, &PatchParams::default(), &Patch::Strategic(patch)).await.unwrap();
}

/// What the first container has now.
fn has(pod: &Pod) -> Value {
    first(pod).map(|status| status["resources"].clone()).unwrap_or_default()
}

/// The condition of a resize, if there is one: type, reason, message.
fn resizing(pod: &Pod) -> Option<[String; 3]> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let found = conditions.iter().find(|condition| condition.type_.starts_with("PodResize"))?;
    let of = |field: &Option<String>| field.clone().unwrap_or_default();
    Some([found.type_.clone(), of(&found.reason), of(&found.message)])
}

fn has_settled(pod: &Pod, resources: &Value) -> bool {
    has(pod) == *resources && resizing(pod).is_none() && condition(pod, "Ready")
}

/// The Events of a pod, once there is one with that reason.
async fn told_of(world: &World, name: &str, reason: &str) -> Vec<String> {
    let mut count = 1;
    loop {
        let told = world.events(name, count).await;
        if told.iter().any(|event| event.contains(&format!(" {reason} "))) {
            return told;
        }
        count = told.len() + 1;
    }
}

/// Thousandths of a CPU that the node can give.
async fn capacity(world: &World) -> i64 {
    let nodes: Api<Node> = Api::all(world.client.clone());
    let cpu = |node: &Node| Some(node.status.as_ref()?.allocatable.as_ref()?.get("cpu")?.0.clone());
    let node = await_condition(nodes, "node", |node: Option<&Node>| node.and_then(cpu).is_some()).await.unwrap();
    let cpu: Quantity = cpu(&node.unwrap()).unwrap().parse().unwrap();
    cpu.millis()
}

#[tokio::test]
async fn a_running_container_is_given_what_it_asks_for() {
    let mut world = World::start().await;
    running(&world, "web", 100, "NotRequired").await;
    resize(&world, "web", cpu(250)).await;
    let pod = world.wait("web", "resized", |pod| has_settled(pod, &cpu(250))).await;
    let status = first(&pod).unwrap();
    assert_eq!((&status["allocatedResources"], &status["restartCount"]), (&cpu(250)["requests"], &json!(0)));
    assert_eq!(world.runtime.journal().last().unwrap(), "update web 0 to 256 134217728");
    let told = told_of(&world, "web", "ResizeCompleted").await;
    let about: Vec<&String> = told.iter().filter(|event| event.contains("Resize")).collect();
    let what = r#"{"containers":[{"name":"web","resources":{"limits":{"memory":"128Mi"},"requests":{"cpu":"250m","memory":"64Mi"}}}],"generation":2}"#;
    assert_eq!(
        about,
        [
            &format!("Normal ResizeStarted Pod resize started: {what}"),
            &format!("Normal ResizeCompleted Pod resize completed: {what}"),
        ]
    );

    // Another kubelet finds it as it is, and goes on with what was asked for meanwhile.
    world.stop_kubelet().await;
    resize(&world, "web", cpu(50)).await;
    world.start_kubelet();
    world.wait("web", "resized again", |pod| has_settled(pod, &cpu(50))).await;
    let updates = world.runtime.journal().into_iter().filter(|line| line.starts_with("update"));
    assert_eq!(updates.collect::<Vec<_>>(), ["update web 0 to 256 134217728", "update web 0 to 51 134217728"]);
}

#[tokio::test]
async fn a_container_that_asks_for_it_is_restarted() {
    let world = World::start().await;
    running(&world, "web", 100, "RestartContainer").await;
    resize(&world, "web", cpu(200)).await;
    world.unroute("web").await;
    let pod = world.wait("web", "restarted", |pod| has_settled(pod, &cpu(200))).await;
    assert_eq!(first(&pod).unwrap()["restartCount"], 1);
    assert_eq!(world.runtime.journal(), ["sandbox web", "start web 0", "stop web 0", "start web 1"]);
    let told = told_of(&world, "web", "ResizeCompleted").await;
    assert!(told.iter().any(|event| event.ends_with("Container web resize requires restart")), "{told:?}");
}

#[tokio::test]
async fn who_asks_for_more_than_there_is_waits_for_room() {
    let world = World::start().await;
    let all = capacity(&world).await;
    running(&world, "large", all - 600, "NotRequired").await;
    running(&world, "web", 500, "NotRequired").await;
    resize(&world, "web", cpu(700)).await;
    let pod = world.wait("web", "told to wait", |pod| resizing(pod).is_some()).await;
    let why = format!("Node didn't have enough resource: cpu, requested: 700, used: {}, capacity: {all}", all - 600);
    assert_eq!(resizing(&pod).unwrap(), ["PodResizePending", "Deferred", &why]);
    assert_eq!(has(&pod), cpu(500));

    resize(&world, "web", cpu(all + 1)).await;
    let pod = world.wait("web", "refused", |pod| resizing(pod).is_some_and(|said| said[1] == "Infeasible")).await;
    let why = format!("Node didn't have enough capacity: cpu, requested: {}, capacity: {all}", all + 1);
    assert_eq!(resizing(&pod).unwrap()[2], why);

    // A restart goes by what was granted.
    world.runtime.exit("web", 1);
    let pod = world.wait("web", "restarted", |pod| phase(pod) == "Running" && first(pod).unwrap()["restartCount"] == 1).await;
    assert_eq!(has(&pod), cpu(500));

    resize(&world, "web", cpu(700)).await;
    world.wait("web", "told to wait", |pod| resizing(pod).is_some_and(|said| said[1] == "Deferred")).await;
    world.delete("large").await;
    world.unroute("large").await;
    world.wait("web", "resized", |pod| has_settled(pod, &cpu(700))).await;
    let told = told_of(&world, "web", "ResizeCompleted").await;
    let count = |reason: &str| told.iter().filter(|event| event.contains(&format!(" {reason} "))).count();
    assert_eq!((count("ResizeDeferred"), count("ResizeInfeasible"), count("ResizeCompleted")), (2, 1, 1), "{told:?}");
}

#[tokio::test]
async fn memory_that_is_in_use_is_not_taken_away() {
    let world = World::start().await;
    running(&world, "web", 100, "NotRequired").await;
    world.runtime.state().memory_used = 100 << 20;
    let smaller = json!({ "requests": { "cpu": "100m", "memory": "64Mi" }, "limits": { "memory": "96Mi" } });
    resize(&world, "web", smaller).await;
    let pod = world.wait("web", "told of it", |pod| resizing(pod).is_some_and(|said| said[1] == "Error")).await;
    let why = "attempting to set container \"web\" memory limit (100663296) below current usage (104857600)";
    assert_eq!(resizing(&pod).unwrap(), ["PodResizeInProgress", "Error", why]);
    assert_eq!(has(&pod), cpu(100));
    resize(&world, "web", cpu(100)).await;
    world.wait("web", "as it was", |pod| has_settled(pod, &cpu(100))).await;
}

#[tokio::test]
async fn what_was_not_granted_is_not_had_by_a_restart_of_the_machine() {
    let mut world = World::start().await;
    let all = capacity(&world).await;
    running(&world, "web", 100, "NotRequired").await;
    resize(&world, "web", cpu(all + 1)).await;
    world.wait("web", "refused", |pod| resizing(pod).is_some()).await;
    world.kubelet.shut_down().await;
    world.stop_kubelet().await;
    world.runtime.state().containers.clear();
    world.runtime.state().sandboxes.clear();
    world.start_kubelet();
    let pod = world.wait("web", "back", |pod| condition(pod, "Ready")).await;
    assert_eq!((has(&pod), resizing(&pod).unwrap()[1].as_str()), (cpu(100), "Infeasible"));
}
