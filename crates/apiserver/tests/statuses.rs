//! Writes to `/status`: what of the metadata they change.

mod support;

use http::Method;
use serde_json::{Value, json};
use support::{deployment, get, pod, send, send_as, server};

const WEB: &str = "/apis/apps/v1/namespaces/default/deployments/web";

fn owner() -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "u" })
}

#[tokio::test]
async fn a_deployments_status_leaves_its_labels() {
    let router = server().await.in_process("test");
    send(&router, Method::POST, "/apis/apps/v1/namespaces/default/deployments", &deployment("web")).await;
    let change = json!({ "labels": { "app": "changed" }, "annotations": { "a": "b" }, "ownerReferences": [owner()] });
    let body = json!({ "metadata": change, "status": { "readyReplicas": 0 } }).to_string();
    let merged = send_as(&router, Method::PATCH, &format!("{WEB}/status"), "application/merge-patch+json", body).await.body;
    let metadata = &merged["metadata"];
    assert_eq!((&metadata["labels"], &metadata["annotations"]), (&json!({ "app": "web" }), &json!({ "a": "b" })));
    assert_eq!(metadata["ownerReferences"], json!([owner()]));

    let body = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "web", "labels": { "from": "status" } }, "status": { "observedGeneration": 1 },
    });
    let path = format!("{WEB}/status?fieldManager=me");
    let applied = send_as(&router, Method::PATCH, &path, "application/apply-patch+yaml", body.to_string()).await;
    assert_eq!((applied.code, &applied.body["metadata"]["labels"]), (200, &json!({ "app": "web" })), "{}", applied.body);
    let managers = get(&router, WEB).await.body["metadata"]["managedFields"].clone();
    let mine = managers.as_array().unwrap().iter().find(|entry| entry["manager"] == "me").unwrap();
    assert_eq!(mine["fieldsV1"], json!({ "f:status": { "f:observedGeneration": {} } }));
}

#[tokio::test]
async fn a_pods_status_leaves_its_owners() {
    let router = server().await.in_process("test");
    send(&router, Method::POST, "/api/v1/namespaces/default/pods", &pod("a")).await;
    let body = json!({ "metadata": { "labels": { "new": "label" }, "ownerReferences": [owner()] } }).to_string();
    let path = "/api/v1/namespaces/default/pods/a/status";
    let merged = send_as(&router, Method::PATCH, path, "application/merge-patch+json", body).await.body;
    assert_eq!((merged["metadata"].get("ownerReferences"), &merged["metadata"]["labels"]["new"]), (None, &json!("label")));
}
