//! Hollow nodes over the real API server.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use jiff::{SignedDuration, Timestamp};
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

fn ready_since(pod: &Pod) -> Timestamp {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = conditions.into_iter().flatten().find(|condition| condition.type_ == "Ready").unwrap();
    ready.last_transition_time.as_ref().unwrap().0
}

#[tokio::test]
async fn pods_run_and_stop_at_once() {
    let client = api_server().await;
    let stop = CancellationToken::new();
    // Each look at the clock is a minute after the one before.
    let looks = AtomicI64::new(0);
    let clock = move || Timestamp::UNIX_EPOCH + SignedDuration::from_mins(looks.fetch_add(1, Ordering::Relaxed));
    let options = Options { clock: Arc::new(clock), ..Options::default() };
    let nodes =
        tokio::spawn(windlass_kubelet::hollow::run(client.clone(), vec!["n1".into(), "n2".into()], options, stop.clone()));
    let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
    for (name, node) in [("a", "n1"), ("b", "n2"), ("c", "n1")] {
        let spec = json!({ "nodeName": node, "containers": [{ "name": "web", "image": "nginx" }] });
        let pod = serde_json::from_value(json!({ "metadata": { "name": name }, "spec": spec })).unwrap();
        pods.create(&PostParams::default(), &pod).await.unwrap();
        await_condition(pods.clone(), name, |pod: Option<&Pod>| pod.is_some_and(|pod| condition(pod, "Ready"))).await.unwrap();
    }
    // Who takes a node for dead is told otherwise, and that the pod has been ready all the time.
    let before = pods.get("a").await.unwrap();
    let unready = json!({ "status": { "conditions": [{ "type": "Ready", "status": "False" }] } });
    let told = pods.patch_status("a", &PatchParams::default(), &Patch::Strategic(&unready)).await.unwrap();
    assert!(!condition(&told, "Ready"));
    let told = await_condition(pods.clone(), "a", |pod: Option<&Pod>| pod.is_some_and(|pod| condition(pod, "Ready"))).await;
    assert_eq!(ready_since(&told.unwrap().unwrap()), ready_since(&before));
    pods.delete("a", &DeleteParams::default()).await.unwrap();
    await_condition(pods.clone(), "a", |pod: Option<&Pod>| pod.is_none()).await.unwrap();
    let nodes_api: Api<Node> = Api::all(client.clone());
    let ready = |node: Option<&Node>| {
        let conditions = node.and_then(|node| node.status.as_ref()?.conditions.as_ref());
        conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    await_condition(nodes_api.clone(), "n2", ready).await.unwrap();
    let handlers = nodes_api.get("n2").await.unwrap().status.unwrap().runtime_handlers.unwrap();
    let names: Vec<String> = handlers.into_iter().filter_map(|handler| handler.name).collect();
    assert_eq!(names, ["", "runc", "test-handler"]);
    let leases: Api<Lease> = Api::namespaced(client, "kube-node-lease");
    await_condition(leases, "n1", |lease: Option<&Lease>| lease.is_some()).await.unwrap();
    stop.cancel();
    nodes.await.unwrap();
}
