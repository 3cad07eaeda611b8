//! Pods that start, fail, crash and end.

use expect_test::expect;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::world::{World, condition, first, phase, waiting};

#[tokio::test]
async fn a_pod_starts_and_everything_about_it_is_told() {
    let world = World::start().await;
    world.create("web", json!({ "containers": [{ "name": "web", "image": "nginx:1.14.2" }] })).await;
    let pod = world.wait("web", "ready", |pod| condition(pod, "Ready")).await;
    let status = pod.status.clone().unwrap();
    assert_eq!(status.phase.as_deref(), Some("Running"));
    assert_eq!((status.pod_ip.as_deref(), status.host_ip.as_deref()), (Some("10.0.0.2"), Some("10.0.0.1")));
    assert_eq!(status.qos_class.as_deref(), Some("BestEffort"));
    assert!(status.start_time.is_some());
    let container = first(&pod).unwrap();
    assert_eq!(container["image"], "docker.io/library/nginx:1.14.2");
    assert_eq!(container["imageID"], "docker.io/library/nginx:1.14.2@sha256:aa");
    assert_eq!(container["containerID"], "windlass://c2");
    assert_eq!(container["user"], json!({ "linux": { "uid": 0, "gid": 0, "supplementalGroups": [0] } }));
    let mut events = world.events("web", 4).await;
    // It took as long as it took.
    let taken = events[1].find(" in ").unwrap()..events[1].find("). ").unwrap();
    events[1].replace_range(taken, " in T (T");
    expect![[r#"
        [
            "Normal Pulling spec.containers{web} Pulling image \"nginx:1.14.2\"",
            "Normal Pulled spec.containers{web} Successfully pulled image \"nginx:1.14.2\" in T (T). Image size: 1000 bytes.",
            "Normal Created spec.containers{web} Container created",
            "Normal Started spec.containers{web} Container started",
        ]
    "#]]
    .assert_debug_eq(&events);
}

#[tokio::test]
async fn an_image_that_does_not_exist_is_named_until_it_is_another() {
    let world = World::start().await;
    world.create("web", json!({ "containers": [{ "name": "web", "image": "nginx:nope" }] })).await;
    let pod = world.wait("web", "told that there is no image", |pod| waiting(pod) == "ErrImagePull").await;
    assert_eq!(first(&pod).unwrap()["state"]["waiting"]["message"], "manifest for nginx:nope not found");
    let pod = world.wait("web", "waiting for the next pull", |pod| waiting(pod) == "ImagePullBackOff").await;
    assert_eq!(
        first(&pod).unwrap()["state"]["waiting"]["message"],
        "Back-off pulling image \"nginx:nope\": ErrImagePull: manifest for nginx:nope not found"
    );
    assert_eq!(phase(&pod), "Pending");
    assert_eq!(
        world.events("web", 5).await,
        [
            "Normal Pulling spec.containers{web} Pulling image \"nginx:nope\"",
            "Warning Failed spec.containers{web} Failed to pull image \"nginx:nope\": manifest for nginx:nope not found",
            "Warning Failed spec.containers{web} Error: ErrImagePull",
            "Normal BackOff spec.containers{web} Back-off pulling image \"nginx:nope\"",
            "Warning Failed spec.containers{web} Error: ImagePullBackOff",
        ]
    );
}

#[tokio::test]
async fn a_container_that_crashes_is_restarted_at_once_and_then_later() {
    let world = World::start().await;
    world.create("web", json!({ "containers": [{ "name": "web", "image": "nginx:1" }] })).await;
    world.wait("web", "ready", |pod| condition(pod, "Ready")).await;
    world.runtime.exit("web", 1);
    let restarts =
        |pod: &k8s_openapi::api::core::v1::Pod| first(pod).map_or(0, |status| status["restartCount"].as_i64().unwrap());
    world.wait("web", "restarted", |pod| restarts(pod) == 1 && condition(pod, "Ready")).await;
    world.runtime.exit("web", 2);
    let pod = world.wait("web", "in back-off", |pod| waiting(pod) == "CrashLoopBackOff").await;
    let container = first(&pod).unwrap();
    let uid = pod.metadata.uid.unwrap();
    let message = format!("back-off 10s restarting failed container=web pod=web_default({uid})");
    assert_eq!(container["state"]["waiting"]["message"], message);
    assert_eq!(container["lastState"]["terminated"]["exitCode"], 2);
    assert_eq!(container["restartCount"], 1);
    let events = world.events("web", 6).await;
    assert!(
        events.contains(&format!(
            "Warning BackOff spec.containers{{web}} Back-off restarting failed container web in pod web_default({uid})"
        )),
        "{events:?}"
    );
}

#[tokio::test]
async fn a_container_that_changed_does_not_wait_for_what_it_was() {
    let world = World::start().await;
    world.create("web", json!({ "containers": [{ "name": "web", "image": "nginx:1" }] })).await;
    world.wait("web", "ready", |pod| condition(pod, "Ready")).await;
    world.runtime.exit("web", 1);
    world.wait("web", "restarted", |pod| first(pod).unwrap()["restartCount"] == 1 && condition(pod, "Ready")).await;
    world.runtime.exit("web", 1);
    world.wait("web", "in back-off", |pod| waiting(pod) == "CrashLoopBackOff").await;
    let patch = json!({ "spec": { "containers": [{ "name": "web", "image": "nginx:2" }] } });
    world.pods().patch("web", &PatchParams::default(), &Patch::Strategic(patch)).await.unwrap();
    world.wait("web", "running again", |pod| condition(pod, "Ready")).await;
    let state = world.runtime.state();
    let newest = state.containers.values().max_by_key(|container| container.config.attempt).unwrap();
    assert_eq!(newest.config.annotations["windlass.dev/backoff-seconds"], "10", "its first crash is yet to come");
}

#[tokio::test]
async fn what_cannot_be_configured_or_run_says_why() {
    let world = World::start().await;
    let env = json!([{ "name": "A", "valueFrom": { "configMapKeyRef": { "name": "settings", "key": "a" } } }]);
    world.create("config", json!({ "containers": [{ "name": "web", "image": "nginx:1", "env": env }] })).await;
    let pod = world.wait("config", "without its configuration", |pod| waiting(pod) == "CreateContainerConfigError").await;
    assert_eq!(first(&pod).unwrap()["state"]["waiting"]["message"], "configmap \"settings\" not found");
    world.config("settings", json!({ "a": "1" })).await;
    world.wait("config", "ready as soon as the object exists", |pod| condition(pod, "Ready")).await;
    let env = world.runtime.state().containers.values().map(|container| container.config.env.clone()).next().unwrap();
    assert!(env.contains(&("A".to_owned(), "1".to_owned())));

    world.create("command", json!({ "containers": [{ "name": "web", "image": "nginx:1", "command": ["missing"] }] })).await;
    world.wait("command", "not startable", |pod| waiting(pod) == "RunContainerError").await;
    let pod = world.wait("command", "in back-off", |pod| waiting(pod) == "CrashLoopBackOff").await;
    assert_eq!(first(&pod).unwrap()["lastState"]["terminated"]["reason"], "StartError");
}

#[tokio::test]
async fn init_containers_go_first_and_sidecars_stay() {
    let world = World::start().await;
    let spec = json!({
        "initContainers": [{ "name": "once", "image": "a:1" }, { "name": "mesh", "image": "b:1", "restartPolicy": "Always" }],
        "containers": [{ "name": "web", "image": "c:1" }],
    });
    world.create("web", spec).await;
    world.until("started", |world| world.runtime.journal().iter().any(|line| line == "start once 0")).await;
    world.runtime.exit("once", 0);
    world.wait("web", "ready", |pod| condition(pod, "Ready")).await;
    assert_eq!(world.runtime.journal(), ["sandbox web", "start once 0", "start mesh 0", "start web 0"]);
}

#[tokio::test]
async fn a_pod_that_ends_gives_back_what_it_had_and_keeps_its_log() {
    let world = World::start().await;
    world.create("job", json!({ "restartPolicy": "Never", "containers": [{ "name": "job", "image": "a:1" }] })).await;
    world.wait("job", "running", |pod| phase(pod) == "Running").await;
    world.runtime.exit("job", 0);
    let pod = world.wait("job", "over", |pod| phase(pod) == "Succeeded").await;
    assert_eq!(first(&pod).unwrap()["state"]["terminated"]["reason"], "Completed");
    world.until("released", |world| world.runtime.journal().last().is_some_and(|line| line == "remove sandbox job")).await;
    let router = windlass_kubelet::server::router(world.kubelet.clone());
    let get = |path: &str| axum::http::Request::get(path).body(axum::body::Body::empty()).unwrap();
    let answer = tower::ServiceExt::oneshot(router, get("/containerLogs/default/job/job")).await.unwrap();
    let body = axum::body::to_bytes(answer.into_body(), 1024).await.unwrap();
    assert_eq!(body, "run 0\n");
}

#[tokio::test]
async fn who_takes_a_ready_pod_for_unready_is_told_otherwise() {
    let world = World::start().await;
    world.create("web", json!({ "containers": [{ "name": "web", "image": "nginx:1" }] })).await;
    world.wait("web", "ready", |pod| condition(pod, "Ready")).await;
    world.patch_status("web", json!({ "conditions": [{ "type": "Ready", "status": "False" }] })).await;
    world.wait("web", "ready again", |pod| condition(pod, "Ready")).await;
}
