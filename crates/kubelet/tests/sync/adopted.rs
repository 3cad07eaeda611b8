//! A kubelet that comes back to what the one before it left.

use serde_json::json;

use crate::world::{World, condition, first};

#[tokio::test]
async fn running_containers_go_on_and_what_lost_its_pod_is_stopped() {
    let mut world = World::start().await;
    for name in ["stays", "goes"] {
        world.create(name, json!({ "containers": [{ "name": name, "image": "a:1" }] })).await;
        world.wait(name, "ready", |pod| condition(pod, "Ready")).await;
    }
    let before = world.wait("stays", "ready", |pod| condition(pod, "Ready")).await;
    world.stop_kubelet().await;
    world.pods().delete("goes", &kube::api::DeleteParams::default().grace_period(0)).await.unwrap();
    let journal = world.runtime.journal().len();
    world.start_kubelet();
    world.until("stopped", |world| world.runtime.journal().ends_with(&["remove sandbox goes".to_owned()])).await;
    assert_eq!(world.runtime.journal()[journal..], ["stop goes 0", "remove sandbox goes"]);
    let after = world.wait("stays", "ready", |pod| condition(pod, "Ready")).await;
    assert_eq!(first(&after), first(&before));
    assert_eq!(after.status.unwrap().pod_ip, before.status.unwrap().pod_ip);
    // It is looked after as before.
    world.runtime.exit("stays", 1);
    world.wait("stays", "restarted", |pod| first(pod).unwrap()["restartCount"] == 1).await;
}

#[tokio::test]
async fn what_ended_meanwhile_is_noticed() {
    let mut world = World::start().await;
    world.create("web", json!({ "containers": [{ "name": "web", "image": "a:1" }] })).await;
    world.wait("web", "ready", |pod| condition(pod, "Ready")).await;
    world.stop_kubelet().await;
    world.runtime.exit("web", 3);
    world.start_kubelet();
    let pod = world.wait("web", "restarted", |pod| first(pod).unwrap()["restartCount"] == 1 && condition(pod, "Ready")).await;
    assert_eq!(first(&pod).unwrap()["lastState"]["terminated"]["exitCode"], 3);
}
