//! Hollow nodes over the real API server.

use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Node, Pod},
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    runtime::wait::await_condition,
};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use windlass_kubelet::hollow::Options;

use crate::world::{api_server, condition};

#[tokio::test]
async fn pods_run_and_stop_at_once() {
    let client = api_server().await;
    let stop = CancellationToken::new();
    let nodes = tokio::spawn(windlass_kubelet::hollow::run(
        client.clone(),
        vec!["n1".into(), "n2".into()],
        Options::default(),
        stop.clone(),
    ));
    let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
    for (name, node) in [("a", "n1"), ("b", "n2"), ("c", "n1")] {
        let spec = json!({ "nodeName": node, "containers": [{ "name": "web", "image": "nginx" }] });
        let pod = serde_json::from_value(json!({ "metadata": { "name": name }, "spec": spec })).unwrap();
        pods.create(&PostParams::default(), &pod).await.unwrap();
        await_condition(pods.clone(), name, |pod: Option<&Pod>| pod.is_some_and(|pod| condition(pod, "Ready"))).await.unwrap();
    }
    // Who takes a node for dead is told otherwise.
    let unready = json!({ "status": { "conditions": [{ "type": "Ready", "status": "False" }] } });
    let told = pods.patch_status("a", &PatchParams::default(), &Patch::Strategic(&unready)).await.unwrap();
    assert!(!condition(&told, "Ready"));
    await_condition(pods.clone(), "a", |pod: Option<&Pod>| pod.is_some_and(|pod| condition(pod, "Ready"))).await.unwrap();
    pods.delete("a", &DeleteParams::default()).await.unwrap();
    await_condition(pods.clone(), "a", |pod: Option<&Pod>| pod.is_none()).await.unwrap();
    let nodes_api: Api<Node> = Api::all(client.clone());
    let ready = |node: Option<&Node>| {
        let conditions = node.and_then(|node| node.status.as_ref()?.conditions.as_ref());
        conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    await_condition(nodes_api, "n2", ready).await.unwrap();
    let leases: Api<Lease> = Api::namespaced(client, "kube-node-lease");
    await_condition(leases, "n1", |lease: Option<&Lease>| lease.is_some()).await.unwrap();
    stop.cancel();
    nodes.await.unwrap();
}
