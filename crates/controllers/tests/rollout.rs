//! Rollouts against the real API server and hollow nodes.

#[allow(dead_code, reason = "each test needs some of it")]
mod machine;

use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::Pod,
};
use serde_json::json;

use self::machine::{Machine, images, rolled_out, sizes, web};

fn image(image: &str) -> serde_json::Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": image}]}}}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_rolls_out_and_back() {
    let machine = Machine::start(2).await;
    machine.create::<Deployment>(web(3, "v1")).await;
    machine.until("web", rolled_out).await;
    machine.patch::<Deployment>("web", image("v2")).await;
    machine.until("web", rolled_out).await;
    assert_eq!(images(&machine.list::<Pod>().await), ["v2"]);
    machine.patch::<Deployment>("web", image("v1")).await;
    machine.until("web", rolled_out).await;
    assert_eq!(images(&machine.list::<Pod>().await), ["v1"]);
    let expected = [("2".to_owned(), 0), ("3".to_owned(), 3)];
    assert_eq!(sizes(&machine.list::<ReplicaSet>().await), expected);
    let web = machine.api::<Deployment>().get("web").await.unwrap();
    assert_eq!(web.metadata.annotations.unwrap()["deployment.kubernetes.io/revision"], "3");
}
