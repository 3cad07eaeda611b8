//! Deletes: finalizers, preconditions, propagation, collections.

mod support;

use expect_test::expect;
use http::Method;
use serde_json::{Value, json};
use support::{config_map, delete, deployment, get, send, server};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

#[tokio::test]
async fn what_is_gone_is_told() {
    let router = server().await.in_process("test");
    let made = send(&router, Method::POST, DEPLOYMENTS, &deployment("a")).await;
    let mut answer = delete(&router, &format!("{DEPLOYMENTS}/a")).await.body;
    assert_eq!(answer["details"]["uid"], made.body["metadata"]["uid"]);
    answer["details"]["uid"] = "UID".into();
    expect![[r#"{"apiVersion":"v1","details":{"group":"apps","kind":"deployments","name":"a","uid":"UID"},"kind":"Status","metadata":{},"status":"Success"}"#]]
        .assert_eq(&answer.to_string());
}

#[tokio::test]
async fn finalizers_keep_an_object() {
    let router = server().await.in_process("test");
    let mut object = config_map("a", "1");
    object["metadata"]["finalizers"] = json!(["example.com/wait"]);
    send(&router, Method::POST, MAPS, &object).await;
    let marked = delete(&router, &format!("{MAPS}/a")).await;
    assert_eq!(marked.body["metadata"]["deletionGracePeriodSeconds"], 0);
    assert!(marked.body["metadata"]["deletionTimestamp"].is_string());
    let mut kept = get(&router, &format!("{MAPS}/a")).await.body;
    kept["metadata"]["finalizers"] = json!([]);
    assert_eq!(send(&router, Method::PUT, &format!("{MAPS}/a"), &kept).await.code, 200);
    assert_eq!(get(&router, &format!("{MAPS}/a")).await.code, 404);
}

#[tokio::test]
async fn propagation_becomes_a_finalizer() {
    let router = server().await.in_process("test");
    for (policy, finalizers) in
        [("Foreground", Some(json!(["foregroundDeletion"]))), ("Orphan", Some(json!(["orphan"]))), ("Background", None)]
    {
        send(&router, Method::POST, DEPLOYMENTS, &deployment("a")).await;
        let path = format!("{DEPLOYMENTS}/a");
        let options = json!({ "kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy });
        send(&router, Method::DELETE, &path, &options).await;
        let mut left = get(&router, &path).await.body;
        assert_eq!(left["metadata"].get("finalizers"), finalizers.as_ref(), "{policy}");
        if finalizers.is_some() {
            assert_eq!(left["metadata"]["generation"], 2, "a mark for deletion is a change");
            left["metadata"]["finalizers"] = Value::Null;
            send(&router, Method::PUT, &path, &left).await;
        }
    }
}

#[tokio::test]
async fn the_pods_of_a_job_outlive_it_where_nobody_says_otherwise() {
    let router = server().await.in_process("test");
    let jobs = "/apis/batch/v1/namespaces/default/jobs";
    let template = json!({ "spec": { "restartPolicy": "Never", "containers": [{ "name": "a", "image": "a" }] } });
    let job = json!({ "metadata": { "name": "a" }, "spec": { "template": template } });
    assert_eq!(send(&router, Method::POST, jobs, &job).await.code, 201);
    let path = format!("{jobs}/a");
    assert_eq!(delete(&router, &path).await.code, 200);
    assert_eq!(get(&router, &path).await.body["metadata"]["finalizers"], json!(["orphan"]));
}

#[tokio::test]
async fn preconditions() {
    let router = server().await.in_process("test");
    let made = send(&router, Method::POST, MAPS, &config_map("a", "1")).await.body;
    let path = format!("{MAPS}/a");
    let wrong = send(&router, Method::DELETE, &path, &json!({ "preconditions": { "uid": "other" } })).await;
    let uid = made["metadata"]["uid"].as_str().unwrap();
    assert_eq!(
        wrong.status(),
        format!(
            "409 Conflict: Operation cannot be fulfilled on ConfigMap \"a\": the UID in the precondition (other) does not match the \
             UID in record ({uid}). The object might have been deleted and then recreated"
        )
    );
    let wrong = send(&router, Method::DELETE, &path, &json!({ "preconditions": { "resourceVersion": "1" } })).await;
    assert_eq!(wrong.code, 409);
    let path_of_namespace = "/api/v1/namespaces/kube-node-lease";
    let own = get(&router, path_of_namespace).await.body["metadata"]["uid"].clone();
    let wrong = send(&router, Method::DELETE, path_of_namespace, &json!({ "preconditions": { "uid": "other" } })).await;
    assert_eq!(
        wrong.status(),
        format!(
            "409 Conflict: Operation cannot be fulfilled on namespaces \"kube-node-lease\": Precondition failed: UID in precondition: \
             other, UID in object meta: {}",
            own.as_str().unwrap()
        )
    );
    let both = json!({ "propagationPolicy": "Orphan", "orphanDependents": true });
    assert_eq!(send(&router, Method::DELETE, &path, &both).await.code, 422);
    assert_eq!(send(&router, Method::DELETE, &path, &json!({ "preconditions": { "uid": uid } })).await.code, 200);
}

#[tokio::test]
async fn collections() {
    let router = server().await.in_process("test");
    for (name, label) in [("a", "x"), ("b", "x"), ("c", "y")] {
        let mut object = config_map(name, "1");
        object["metadata"]["labels"] = json!({ "l": label });
        send(&router, Method::POST, MAPS, &object).await;
    }
    let answer = delete(&router, &format!("{MAPS}?labelSelector=l=x")).await;
    assert_eq!((answer.code, answer.body["items"].as_array().map(Vec::len)), (200, Some(2)));
    assert_eq!(get(&router, MAPS).await.body["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn the_first_namespaces_stay() {
    let router = server().await.in_process("test");
    expect![[r#"403 Forbidden: namespaces "default" is forbidden: this namespace may not be deleted"#]]
        .assert_eq(&delete(&router, "/api/v1/namespaces/default").await.status());
}

#[tokio::test]
async fn a_running_pod_has_its_grace() {
    let router = server().await.in_process("test");
    let path = "/api/v1/namespaces/default/pods/a";
    let mut pod = support::pod("a");
    pod["spec"]["nodeName"] = "node-1".into();
    send(&router, Method::POST, "/api/v1/namespaces/default/pods", &pod).await;
    assert_eq!(delete(&router, path).await.body["metadata"]["deletionGracePeriodSeconds"], 30);
    assert_eq!(
        delete(&router, &format!("{path}?gracePeriodSeconds=60")).await.body["metadata"]["deletionGracePeriodSeconds"],
        30
    );
    let shorter = delete(&router, &format!("{path}?gracePeriodSeconds=5")).await.body;
    assert_eq!(shorter["metadata"]["deletionGracePeriodSeconds"], 5, "a second delete may only shorten it");
    assert_eq!(get(&router, path).await.body["metadata"]["deletionTimestamp"], shorter["metadata"]["deletionTimestamp"]);
    assert_eq!(delete(&router, &format!("{path}?gracePeriodSeconds=0")).await.body["kind"], "Pod");
    assert_eq!(get(&router, path).await.code, 404);
}

#[tokio::test]
async fn no_pod_gets_a_node_for_a_claim_that_goes() {
    let router = server().await.in_process("test");
    let claims = "/api/v1/namespaces/default/persistentvolumeclaims";
    let spec = json!({ "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } });
    send(&router, Method::POST, claims, &json!({ "metadata": { "name": "data" }, "spec": spec })).await;
    let mut pod = support::pod("a");
    pod["spec"]["volumes"] = json!([{ "name": "data", "persistentVolumeClaim": { "claimName": "data" } }]);
    assert_eq!(send(&router, Method::POST, "/api/v1/namespaces/default/pods", &pod).await.code, 201);
    assert!(delete(&router, &format!("{claims}/data")).await.body["metadata"]["deletionTimestamp"].is_string());
    let binding = json!({ "metadata": { "name": "a" }, "target": { "name": "node-1" } });
    let bound = send(&router, Method::POST, "/api/v1/namespaces/default/pods/a/binding", &binding).await;
    expect![[r#"Operation cannot be fulfilled on pods "a": persistentvolumeclaim "data" is being deleted"#]]
        .assert_eq(bound.body["message"].as_str().unwrap());
}
