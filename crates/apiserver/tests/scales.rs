//! Who owns replicas that are changed through a Scale: upstream's `TestScaleAllResources`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use axum::Router;
use http::Method;
use serde_json::{Value, json};
use support::{Answer, deployment, get, send_as, server};

const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/default/deployments/test";
const APPLY: &str = "application/apply-patch+yaml";
const MERGE: &str = "application/merge-patch+json";

/// How many replicas there are, and the managers that own the field.
async fn replicas(router: &Router) -> (Value, Vec<String>) {
    let object = get(router, DEPLOYMENT).await.body;
    let entries = object["metadata"]["managedFields"].as_array().unwrap().iter();
    let owners = entries.filter(|entry| entry["fieldsV1"]["f:spec"]["f:replicas"].is_object());
    let line = |entry: &Value| {
        let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        format!("{} {} {} {}", text("manager"), text("operation"), text("apiVersion"), text("subresource")).trim_end().to_owned()
    };
    let mut owners: Vec<String> = owners.map(line).collect();
    owners.sort();
    (object["spec"]["replicas"].clone(), owners)
}

fn scale(count: u32) -> String {
    json!({ "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": { "name": "test", "namespace": "default" }, "spec": { "replicas": count } })
        .to_string()
}

async fn patch(router: &Router, below: &str, media: &str, body: String) -> Answer {
    send_as(router, Method::PATCH, &format!("{DEPLOYMENT}{below}"), media, body).await
}

#[tokio::test]
async fn replicas_have_owners() {
    let router = server().await.in_process("test");
    let mut object = deployment("test");
    object["spec"]["replicas"] = json!(1);
    let object = object.to_string();
    assert_eq!(patch(&router, "?fieldManager=apply_test", APPLY, object.clone()).await.code, 201);
    assert_eq!(replicas(&router).await, (json!(1), vec!["apply_test Apply apps/v1".to_owned()]));

    let five = json!({ "spec": { "replicas": 5 } }).to_string();
    assert_eq!(patch(&router, "/scale?fieldManager=scale_test", MERGE, five.clone()).await.code, 200);
    assert_eq!(replicas(&router).await, (json!(5), vec!["scale_test Update apps/v1 scale".to_owned()]));

    assert_eq!(patch(&router, "?fieldManager=apply_test", APPLY, object.clone()).await.code, 409);
    assert_eq!(patch(&router, "?fieldManager=apply_test&force=true", APPLY, object).await.code, 200);
    assert_eq!(replicas(&router).await, (json!(1), vec!["apply_test Apply apps/v1".to_owned()]));

    let refused = patch(&router, "/scale?fieldManager=apply_scale", APPLY, scale(17)).await;
    assert_eq!(refused.status(), "409 Conflict: Apply failed with 1 conflict: conflict with \"apply_test\": .spec.replicas");
    let forced = patch(&router, "/scale?fieldManager=apply_scale&force=true", APPLY, scale(17)).await;
    assert_eq!((forced.code, &forced.body["kind"], &forced.body["spec"]["replicas"]), (200, &json!("Scale"), &json!(17)));
    assert_eq!(replicas(&router).await, (json!(17), vec!["apply_scale Apply apps/v1 scale".to_owned()]));

    let path = format!("{DEPLOYMENT}/scale?fieldManager=replace_test");
    assert_eq!(send_as(&router, Method::PUT, &path, "application/json", scale(7)).await.code, 200);
    assert_eq!(replicas(&router).await, (json!(7), vec!["replace_test Update apps/v1 scale".to_owned()]));
    assert_eq!(patch(&router, "/scale?fieldManager=co_owning_test", APPLY, scale(7)).await.code, 200);
    let both = ["co_owning_test Apply apps/v1 scale", "replace_test Update apps/v1 scale"].map(str::to_owned);
    assert_eq!(replicas(&router).await, (json!(7), both.to_vec()));
    assert_eq!(patch(&router, "/scale?fieldManager=scale_test", MERGE, five).await.code, 200);
    assert_eq!(replicas(&router).await, (json!(5), vec!["scale_test Update apps/v1 scale".to_owned()]));

    let refused = patch(&router, "/scale?fieldManager=apply_scale&force=true", APPLY, scale(1).replace(":1}", ":-1}")).await;
    assert_eq!(refused.code, 422, "{}", refused.status());
}
