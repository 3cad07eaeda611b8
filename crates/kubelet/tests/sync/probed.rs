//! Probes, over real sockets.

use std::sync::atomic::Ordering;

use axum::{Router, http::StatusCode, routing::get};
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use crate::{
    stopped::stops,
    world::{World, condition, first},
};

async fn listen(answer: StatusCode) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let router = Router::new().route("/healthy", get(move || async move { answer }));
    tokio::spawn(async move { axum::serve(listener, router).await });
    port
}

#[tokio::test]
async fn a_pod_is_ready_when_its_probe_says_so() {
    let world = World::start().await;
    let (good, bad) = (listen(StatusCode::OK).await, listen(StatusCode::INTERNAL_SERVER_ERROR).await);
    let spec = |port: u16| {
        let probe = json!({ "httpGet": { "path": "/healthy", "port": "http" }, "periodSeconds": 1 });
        let ports = json!([{ "name": "http", "containerPort": port }]);
        json!({ "containers": [{ "name": "web", "image": "a:1", "readinessProbe": probe, "ports": ports }] })
    };
    world.create("bad", spec(bad)).await;
    world.create("good", spec(good)).await;
    world.wait("good", "ready", |pod| condition(pod, "Ready")).await;
    let events = world.events("bad", 5).await;
    assert_eq!(
        events.last().unwrap(),
        "Warning Unhealthy spec.containers{web} Readiness probe failed: HTTP probe failed with statuscode: 500"
    );
    let pod = world.wait("bad", "running", |pod| crate::world::phase(pod) == "Running").await;
    assert!(!condition(&pod, "Ready"));
}

#[tokio::test]
async fn a_container_that_is_not_alive_is_unrouted_drained_and_then_restarted() {
    let world = World::start().await;
    let probe = json!({ "exec": { "command": ["alive"] }, "periodSeconds": 1, "failureThreshold": 1 });
    world.create("web", json!({ "containers": [{ "name": "web", "image": "a:1", "livenessProbe": probe }] })).await;
    world.wait("web", "ready", |pod| condition(pod, "Ready")).await;
    world.network.connections.store(1, Ordering::Relaxed);
    world.runtime.state().exec_exit_code = 1;
    let asks = |pod: &Pod| {
        let conditions = pod.status.as_ref().unwrap().conditions.as_ref().unwrap();
        conditions.iter().any(|condition| condition.type_ == "windlass.dev/Unrouted" && condition.status == "False")
    };
    world.wait("web", "unready and asking", |pod| !condition(pod, "Ready") && asks(pod)).await;
    world.runtime.state().exec_exit_code = 0;
    assert_eq!(stops(&world), Vec::<String>::new(), "a route may still lead to it");
    world.unroute("web").await;
    assert_eq!(stops(&world), Vec::<String>::new(), "a request is in flight");
    world.network.connections.store(0, Ordering::Relaxed);
    let pod = world.wait("web", "restarted", |pod| first(pod).unwrap()["restartCount"] == 1 && condition(pod, "Ready")).await;
    assert_eq!(stops(&world), ["stop web 0"]);
    let conditions = pod.status.as_ref().unwrap().conditions.as_ref().unwrap();
    assert!(!conditions.iter().any(|condition| condition.type_ == "windlass.dev/Unrouted"), "it may be routed to again");
    assert_eq!(first(&pod).unwrap()["lastState"]["terminated"]["exitCode"], 143);
    let events = world.events("web", 7).await;
    assert!(!events.iter().any(|event| event.contains(" BackOff ")), "{events:?}");
    for event in [
        "Warning Unhealthy spec.containers{web} Liveness probe failed: said so",
        "Normal Killing spec.containers{web} Container web failed liveness probe, will be restarted",
    ] {
        assert!(events.iter().any(|found| found == event), "{events:?}");
    }
}

#[tokio::test]
async fn a_redirect_elsewhere_is_a_success_with_a_warning() {
    let world = World::start().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let elsewhere =
        || async { (StatusCode::FOUND, [("location", "http://0.0.0.0/")], "<a href=\"http://0.0.0.0/\">Found</a>.\n\n") };
    let router = Router::new().route("/redirect", get(elsewhere));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let probe = json!({ "httpGet": { "path": "/redirect", "port": port }, "periodSeconds": 1 });
    world.create("web", json!({ "containers": [{ "name": "web", "image": "a:1", "readinessProbe": probe }] })).await;
    world.wait("web", "ready", |pod| condition(pod, "Ready")).await;
    let events = world.events("web", 5).await;
    let why = "Probe terminated redirects, Response body: <a href=\"http://0.0.0.0/\">Found</a>.\n\n";
    assert_eq!(events.last().unwrap(), &format!("Warning ProbeWarning spec.containers{{web}} Readiness probe warning: {why}"));
}
