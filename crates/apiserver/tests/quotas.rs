//! Quotas and limits at admission, without anybody who counts afterwards.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use axum::Router;
use http::Method;
use serde_json::{Value, json};
use support::{config_map, delete, get, pod, send, server};

const QUOTAS: &str = "/api/v1/namespaces/default/resourcequotas";
const PODS: &str = "/api/v1/namespaces/default/pods";
const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// A quota that was counted once.
async fn limit(router: &Router, hard: Value) {
    let mut quota = json!({ "metadata": { "name": "q" }, "spec": { "hard": hard } });
    assert_eq!(send(router, Method::POST, QUOTAS, &quota).await.code, 201);
    let none: Value = hard.as_object().unwrap().keys().map(|name| (name.clone(), Value::from("0"))).collect();
    quota["status"] = json!({ "hard": hard, "used": none });
    assert_eq!(send(router, Method::PUT, &format!("{QUOTAS}/q/status"), &quota).await.code, 200);
}

async fn used(router: &Router) -> Value {
    get(router, &format!("{QUOTAS}/q")).await.body["status"]["used"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_are_let_in_as_there_is_room_for() {
    let router = server().await.in_process("test");
    limit(&router, json!({ "count/configmaps": "20" })).await;
    let creations = (0..40).map(|number| {
        let router = router.clone();
        async move { send(&router, Method::POST, CONFIG_MAPS, &config_map(&format!("c{number}"), "x")).await.code }
    });
    let codes = futures::future::join_all(creations).await;
    assert_eq!(codes.iter().filter(|code| **code == 201).count(), 20, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == 403).count(), 20, "{codes:?}");
    assert_eq!(used(&router).await, json!({ "count/configmaps": "20" }));
}

#[tokio::test]
async fn what_is_not_stored_is_not_charged() {
    let router = server().await.in_process("test");
    limit(&router, json!({ "configmaps": "2" })).await;
    let made = send(&router, Method::POST, CONFIG_MAPS, &config_map("a", "x")).await;
    assert_eq!(made.code, 201);
    for (path, code) in [(CONFIG_MAPS.to_owned(), 409), (format!("{CONFIG_MAPS}?dryRun=All"), 409)] {
        assert_eq!(send(&router, Method::POST, &path, &config_map("a", "x")).await.code, code);
    }
    assert_eq!(send(&router, Method::POST, &format!("{CONFIG_MAPS}?dryRun=All"), &config_map("b", "x")).await.code, 201);
    assert_eq!(used(&router).await, json!({ "configmaps": "1" }));
    assert_eq!(send(&router, Method::POST, CONFIG_MAPS, &config_map("b", "x")).await.code, 201);
    let refused = send(&router, Method::POST, &format!("{CONFIG_MAPS}?dryRun=All"), &config_map("c", "x")).await;
    assert_eq!(
        refused.status(),
        "403 Forbidden: configmaps \"c\" is forbidden: exceeded quota: q, requested: configmaps=1, used: configmaps=2, limited: configmaps=2"
    );
    assert_eq!(delete(&router, &format!("{QUOTAS}/q")).await.code, 200);
    assert_eq!(send(&router, Method::POST, CONFIG_MAPS, &config_map("c", "x")).await.code, 201);
}

#[tokio::test]
async fn ranges_fill_in_what_quotas_ask_for() {
    let router = server().await.in_process("test");
    limit(&router, json!({ "limits.memory": "1Gi" })).await;
    let refused = send(&router, Method::POST, PODS, &pod("a")).await;
    assert_eq!(refused.status(), "403 Forbidden: pods \"a\" is forbidden: failed quota: q: must specify limits.memory for: web");
    let range = json!({ "metadata": { "name": "r" }, "spec": { "limits": [
        { "type": "Container", "default": { "memory": "600Mi" }, "max": { "memory": "800Mi" } },
    ] } });
    assert_eq!(send(&router, Method::POST, "/api/v1/namespaces/default/limitranges", &range).await.code, 201);
    let made = send(&router, Method::POST, PODS, &pod("a")).await;
    assert_eq!(made.code, 201, "{}", made.body);
    assert_eq!(made.body["spec"]["containers"][0]["resources"]["limits"], json!({ "memory": "600Mi" }));
    assert_eq!(
        made.body["metadata"]["annotations"]["kubernetes.io/limit-ranger"],
        "LimitRanger plugin set: memory request for container web; memory limit for container web"
    );
    let mut large = pod("b");
    large["spec"]["containers"][0]["resources"] = json!({ "limits": { "memory": "1Gi" } });
    assert_eq!(
        send(&router, Method::POST, PODS, &large).await.status(),
        "403 Forbidden: pods \"b\" is forbidden: maximum memory usage per Container is 800Mi, but limit is 1Gi"
    );
    assert_eq!(
        send(&router, Method::POST, PODS, &pod("b")).await.status(),
        "403 Forbidden: pods \"b\" is forbidden: exceeded quota: q, requested: limits.memory=600Mi, used: limits.memory=600Mi, limited: limits.memory=1Gi"
    );
}
