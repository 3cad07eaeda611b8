//! Pods on their way down.

use std::sync::atomic::Ordering;

use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;
use serde_json::json;

use crate::world::{World, condition};

pub(crate) fn stops(world: &World) -> Vec<String> {
    let journal = world.runtime.journal();
    journal
        .into_iter()
        .filter(|line| ["stop", "kill", "exec web bye", "remove sandbox"].iter().any(|start| line.starts_with(start)))
        .collect()
}

#[tokio::test]
async fn unrouted_then_drained_then_told_to_stop() {
    let world = World::start().await;
    let hook = json!({ "preStop": { "exec": { "command": ["bye"] } } });
    let spec = json!({
        "initContainers": [{ "name": "mesh", "image": "b:1", "restartPolicy": "Always" }],
        "containers": [{ "name": "web", "image": "a:1", "lifecycle": hook }],
    });
    let pod = world.create("web", spec).await;
    world.wait("web", "ready", |pod| condition(pod, "Ready")).await;
    world.network.connections.store(1, Ordering::Relaxed);
    world.delete("web").await;
    let pod_that_goes = world.wait("web", "on its way down", is_seen_going).await;
    assert!(condition(&pod_that_goes, "Ready"), "it serves as long as it runs");
    assert_eq!(stops(&world), Vec::<String>::new(), "a route may still lead to it");
    world.unroute("web").await;
    world.wait("web", "unrouted", |pod| condition(pod, "windlass.dev/Unrouted")).await;
    assert_eq!(stops(&world), Vec::<String>::new(), "a request is in flight");
    world.network.connections.store(0, Ordering::Relaxed);
    world.wait_gone("web").await;
    assert_eq!(stops(&world), ["exec web bye", "stop web 0", "stop mesh 0", "remove sandbox web"]);
    let uid = pod.metadata.uid.unwrap();
    assert!(!world.directory.path().join("pods").join(&uid).exists());
    world.until("without logs", |world| !world.directory.path().join(format!("pods-logs/default_web_{uid}")).exists()).await;
    let events = world.events("web", 10).await;
    let killing: Vec<&String> = events.iter().filter(|event| event.contains("Killing")).collect();
    assert_eq!(
        killing,
        [
            "Normal Killing spec.containers{web} Stopping container web",
            "Normal Killing spec.initContainers{mesh} Stopping container mesh"
        ]
    );
}

/// The kubelet knows that the pod was deleted, which is a change of its generation.
fn is_seen_going(pod: &Pod) -> bool {
    let observed = pod.status.as_ref().and_then(|status| status.observed_generation);
    pod.metadata.deletion_timestamp.is_some() && observed == pod.metadata.generation
}

#[tokio::test]
async fn on_the_way_down_it_is_still_told_who_serves() {
    let world = World::start().await;
    let probe = json!({ "exec": { "command": ["well"] }, "periodSeconds": 1, "failureThreshold": 1 });
    let container = json!({ "name": "web", "image": "a:1", "readinessProbe": probe, "livenessProbe": probe });
    world.create("web", json!({ "containers": [container] })).await;
    world.wait("web", "ready", |pod| condition(pod, "Ready")).await;
    world.network.connections.store(1, Ordering::Relaxed);
    world.delete("web").await;
    world.wait("web", "on its way down", is_seen_going).await;
    world.runtime.state().exec_exit_code = 1;
    world.wait("web", "unready", |pod| !condition(pod, "Ready")).await;
    world.unroute("web").await;
    world.runtime.state().exec_exit_code = 0;
    let pod = world.wait("web", "ready again", |pod| condition(pod, "Ready")).await;
    assert!(condition(&pod, "windlass.dev/Unrouted"), "no route leads to it again");
    world.network.connections.store(0, Ordering::Relaxed);
    world.wait_gone("web").await;
    assert_eq!(stops(&world), ["stop web 0", "remove sandbox web"]);
    let events = world.events("web", 5).await;
    assert!(!events.iter().any(|event| event.contains("iveness probe")), "{events:?}");
}

#[tokio::test]
async fn a_pod_deleted_by_force_is_killed_at_once() {
    let world = World::start().await;
    world.create("web", json!({ "containers": [{ "name": "web", "image": "a:1" }] })).await;
    world.wait("web", "ready", |pod| condition(pod, "Ready")).await;
    world.network.connections.store(1, Ordering::Relaxed);
    world.pods().delete("web", &DeleteParams::default().grace_period(0)).await.unwrap();
    world.until("killed", |world| stops(world) == ["kill web 0", "remove sandbox web"]).await;
}

#[tokio::test]
async fn a_pod_deleted_while_its_image_is_missing_goes_at_once() {
    let world = World::start().await;
    world.create("web", json!({ "containers": [{ "name": "web", "image": "a:nope" }] })).await;
    world.wait("web", "waiting", |pod| crate::world::waiting(pod) == "ErrImagePull").await;
    world.delete("web").await;
    world.wait_gone("web").await;
}

#[tokio::test]
async fn a_deadline_fails_the_pod() {
    let world = World::start().await;
    world.create("job", json!({ "activeDeadlineSeconds": 1, "containers": [{ "name": "job", "image": "a:1" }] })).await;
    world.wait("job", "running", |pod| condition(pod, "Ready")).await;
    world.wait("job", "unready", |pod| !condition(pod, "Ready")).await;
    world.unroute("job").await;
    let pod = world.wait("job", "over", |pod| crate::world::phase(pod) == "Failed").await;
    assert_eq!(pod.status.unwrap().reason.as_deref(), Some("DeadlineExceeded"));
}

#[tokio::test]
async fn the_machine_stops_its_pods_and_brings_them_back() {
    let mut world = World::start().await;
    world.create("web", json!({ "containers": [{ "name": "web", "image": "a:1" }] })).await;
    world.wait("web", "ready", |pod| condition(pod, "Ready")).await;
    world.kubelet.shut_down().await;
    assert_eq!(stops(&world), ["stop web 0", "remove sandbox web"]);
    world.wait("web", "unready", |pod| !condition(pod, "Ready")).await;
    world.restart().await;
    let pod = world.wait("web", "ready again", |pod| condition(pod, "Ready")).await;
    assert_eq!(crate::world::first(&pod).unwrap()["restartCount"], 1);
}

#[tokio::test]
async fn a_sandbox_that_is_made_after_its_pod_has_gone_goes_too() {
    let world = World::start().await;
    let held = world.network.held.lock().await;
    let volume = json!([{ "name": "data", "emptyDir": {} }]);
    let pod = world.create("web", json!({ "containers": [{ "name": "web", "image": "a:1" }], "volumes": volume })).await;
    let files = world.directory.path().join("pods").join(pod.metadata.uid.unwrap());
    world.until("begun", |world| world.runtime.journal() == ["sandbox web"] && files.exists()).await;
    world.pods().delete("web", &DeleteParams::default().grace_period(0)).await.unwrap();
    // Once what is under way has been waited for, nothing is left that the worker knows of.
    world.until("given up", |_| !files.exists()).await;
    assert_eq!(stops(&world), Vec::<String>::new());
    drop(held);
    world.until("removed", |world| stops(world) == ["remove sandbox web"]).await;
}
