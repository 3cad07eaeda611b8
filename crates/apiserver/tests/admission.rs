//! What is filled in, and what is refused, before an object is stored.

mod support;

use expect_test::expect;
use http::Method;
use serde_json::{Value, json};
use support::{get, pod, send, server};

const PODS: &str = "/api/v1/namespaces/default/pods";

#[tokio::test]
async fn a_claim_gets_the_default_class() {
    let router = server().await.in_process("test");
    let class = |name: &str, default: &str| {
        let annotations = json!({ "storageclass.kubernetes.io/is-default-class": default });
        json!({ "metadata": { "name": name, "annotations": annotations }, "provisioner": "example.com/x" })
    };
    for (name, default) in [("slow", "false"), ("fast", "true")] {
        let made = send(&router, Method::POST, "/apis/storage.k8s.io/v1/storageclasses", &class(name, default)).await;
        assert_eq!(made.code, 201, "{}", made.body);
    }
    let claims = "/api/v1/namespaces/default/persistentvolumeclaims";
    let claim = |name: &str, class: Value| {
        let spec = json!({
            "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } }, "storageClassName": class,
        });
        json!({ "metadata": { "name": name }, "spec": spec })
    };
    for (name, asked, got) in [("a", Value::Null, "fast"), ("b", json!("slow"), "slow"), ("c", json!(""), "")] {
        let made = send(&router, Method::POST, claims, &claim(name, asked)).await;
        assert_eq!((made.code, made.body["spec"]["storageClassName"].as_str()), (201, Some(got)), "{name}: {}", made.body);
    }
}

#[tokio::test]
async fn a_claim_grows_where_its_class_allows_it() {
    let router = server().await.in_process("test");
    for (name, expands) in [("fixed", false), ("growing", true)] {
        let class = json!({ "metadata": { "name": name }, "provisioner": "example.com/x", "allowVolumeExpansion": expands });
        assert_eq!(send(&router, Method::POST, "/apis/storage.k8s.io/v1/storageclasses", &class).await.code, 201);
    }
    let claims = "/api/v1/namespaces/default/persistentvolumeclaims";
    let patch = |path: String, change: Value| {
        let router = router.clone();
        async move { support::send_as(&router, Method::PATCH, &path, "application/merge-patch+json", change.to_string()).await }
    };
    let size = |size: &str| json!({ "spec": { "resources": { "requests": { "storage": size } } } });
    for class in ["fixed", "growing", ""] {
        let name = format!("of-{class}x");
        let spec = json!({
            "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } }, "storageClassName": class,
        });
        let made = send(&router, Method::POST, claims, &json!({ "metadata": { "name": name }, "spec": spec })).await;
        assert_eq!(made.code, 201, "{}", made.body);
        patch(format!("{claims}/{name}/status"), json!({ "status": { "phase": "Bound" } })).await;
    }
    assert_eq!(patch(format!("{claims}/of-growingx"), size("2Gi")).await.code, 200);
    assert_eq!(patch(format!("{claims}/of-fixedx"), size("1024Mi")).await.code, 200, "not larger");
    for name in ["of-fixedx", "of-x"] {
        let refused = patch(format!("{claims}/{name}"), size("2Gi")).await.status();
        let why =
            "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize";
        assert_eq!(refused, format!("403 Forbidden: persistentvolumeclaims \"{name}\" is forbidden: {why}"));
    }
}

#[tokio::test]
async fn a_new_node_gets_no_pods_before_it_is_ready() {
    let router = server().await.in_process("test");
    let taint = json!({ "key": "node.kubernetes.io/not-ready", "effect": "NoSchedule" });
    let other = json!({ "key": "gpu", "effect": "NoSchedule" });
    let cases = [
        ("a", json!({}), json!([taint])),
        ("b", json!({ "taints": [other] }), json!([other, taint])),
        ("c", json!({ "taints": [taint] }), json!([taint])),
    ];
    for (name, spec, expected) in cases {
        let made = send(&router, Method::POST, "/api/v1/nodes", &json!({ "metadata": { "name": name }, "spec": spec })).await;
        assert_eq!((made.code, &made.body["spec"]["taints"]), (201, &expected), "{}", made.body);
    }
}

#[tokio::test]
async fn an_ingress_gets_the_default_class() {
    const GROUP: &str = "/apis/networking.k8s.io/v1";
    let router = server().await.in_process("test");
    let ingress = |name: &str, class: Value, annotations: Value| {
        let backend = json!({ "service": { "name": "web", "port": { "number": 80 } } });
        json!({
            "metadata": { "name": name, "annotations": annotations },
            "spec": { "ingressClassName": class, "defaultBackend": backend },
        })
    };
    let made = async |object: Value| {
        let made = send(&router, Method::POST, &format!("{GROUP}/namespaces/default/ingresses"), &object).await;
        assert_eq!(made.code, 201, "{}", made.body);
        made.body["spec"]["ingressClassName"].clone()
    };
    assert_eq!(made(ingress("none", Value::Null, json!({}))).await, Value::Null);
    for (name, default) in [("other", "false"), ("usual", "true")] {
        let annotations = json!({ "ingressclass.kubernetes.io/is-default-class": default });
        let class =
            json!({ "metadata": { "name": name, "annotations": annotations }, "spec": { "controller": "example.com/x" } });
        assert_eq!(send(&router, Method::POST, &format!("{GROUP}/ingressclasses"), &class).await.code, 201);
    }
    assert_eq!(made(ingress("a", Value::Null, json!({}))).await, "usual");
    assert_eq!(made(ingress("b", json!("other"), json!({}))).await, "other");
    assert_eq!(made(ingress("c", Value::Null, json!({ "kubernetes.io/ingress.class": "other" }))).await, Value::Null);
}

#[tokio::test]
async fn a_pod_has_the_priority_of_its_class() {
    let router = server().await.in_process("test");
    let mut critical = pod("a");
    critical["spec"]["priorityClassName"] = "system-cluster-critical".into();
    let made = send(&router, Method::POST, PODS, &critical).await.body;
    assert_eq!(made["spec"]["priority"], 2_000_000_000);
    assert_eq!(send(&router, Method::POST, PODS, &pod("b")).await.body["spec"]["priority"], 0);
    let mut unknown = pod("c");
    unknown["spec"]["priorityClassName"] = "nope".into();
    expect![[r#"403 Forbidden: pods "c" is forbidden: no PriorityClass with name nope was found"#]]
        .assert_eq(&send(&router, Method::POST, PODS, &unknown).await.status());
    unknown["metadata"] = json!({ "generateName": "web-" });
    expect![[r#"403 Forbidden: pods "web-" is forbidden: no PriorityClass with name nope was found"#]]
        .assert_eq(&send(&router, Method::POST, PODS, &unknown).await.status());
}

#[tokio::test]
async fn a_changed_pod_keeps_what_was_filled_in() {
    let router = server().await.in_process("test");
    let made = send(&router, Method::POST, PODS, &pod("a")).await.body;
    let mut changed = made.clone();
    changed["metadata"]["labels"] = json!({ "app": "web" });
    let spec = changed["spec"].as_object_mut().unwrap();
    for filled_in in ["priority", "preemptionPolicy", "tolerations"] {
        assert!(spec.remove(filled_in).is_some(), "{filled_in}");
    }
    let changed = send(&router, Method::PUT, &format!("{PODS}/a"), &changed).await;
    assert_eq!((changed.code, &changed.body["spec"]), (200, &made["spec"]), "{}", changed.body);
    assert_eq!(changed.body["metadata"]["labels"]["app"], "web");
}

#[tokio::test]
async fn an_eviction_asks_the_budget() {
    let router = server().await.in_process("test");
    let mut object = pod("a");
    object["spec"]["nodeName"] = "node-1".into();
    send(&router, Method::POST, PODS, &object).await;
    let ready = json!({ "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] } });
    let status = format!("{PODS}/a/status");
    support::send_as(&router, Method::PATCH, &status, "application/merge-patch+json", ready.to_string()).await;
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let budget = json!({
        "metadata": { "name": "b" }, "spec": { "minAvailable": 1, "selector": { "matchLabels": { "app": "a" } } },
    });
    assert_eq!(send(&router, Method::POST, budgets, &budget).await.code, 201);
    let allow = |allowed: i64| {
        let status = json!({ "status": {
            "observedGeneration": 1, "disruptionsAllowed": allowed, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1,
        } });
        let router = router.clone();
        async move {
            let path = format!("{budgets}/b/status");
            support::send_as(&router, Method::PATCH, &path, "application/merge-patch+json", status.to_string()).await
        }
    };
    let eviction = json!({ "apiVersion": "policy/v1beta1", "kind": "Eviction", "metadata": { "name": "a" } });
    let evict = format!("{PODS}/a/eviction");
    assert_eq!(allow(0).await.code, 200);
    let refused = send(&router, Method::POST, &evict, &eviction).await;
    expect!["429 TooManyRequests: Cannot evict pod as it would violate the pod's disruption budget."]
        .assert_eq(&refused.status());
    assert_eq!(
        refused.body["details"]["causes"][0]["message"],
        "The disruption budget b needs 1 healthy pods and has 1 currently"
    );
    assert!(!refused.headers.contains_key("retry-after"), "nobody knows when the budget will allow more");
    assert_eq!(allow(1).await.code, 200);
    assert_eq!(send(&router, Method::POST, &evict, &eviction).await.code, 201);
    let evicted = get(&router, &format!("{PODS}/a")).await.body;
    assert!(evicted["metadata"]["deletionTimestamp"].is_string());
    let conditions = evicted["status"]["conditions"].as_array().unwrap().iter();
    let target = conditions.filter(|condition| condition["type"] == "DisruptionTarget").map(|target| &target["reason"]);
    assert_eq!(target.collect::<Vec<_>>(), ["EvictionByEvictionAPI"]);
    let spent = get(&router, &format!("{budgets}/b")).await.body;
    assert_eq!((&spent["status"]["disruptionsAllowed"], spent["status"]["disruptedPods"]["a"].is_string()), (&json!(0), true));
}

#[tokio::test]
async fn a_service_keeps_what_it_was_allotted() {
    let router = server().await.in_process("test");
    let services = "/api/v1/namespaces/default/services";
    let spec = json!({ "type": "NodePort", "selector": { "a": "b" }, "ports": [{ "port": 80 }] });
    let service = json!({ "metadata": { "name": "s" }, "spec": spec });
    let made = send(&router, Method::POST, services, &service).await.body;
    let path = format!("{services}/s");
    let replaced = send(&router, Method::PUT, &path, &service).await;
    assert_eq!((replaced.code, &replaced.body["spec"]["clusterIP"]), (200, &made["spec"]["clusterIP"]), "{}", replaced.body);
    assert_eq!(replaced.body["spec"]["ports"][0]["nodePort"], made["spec"]["ports"][0]["nodePort"]);
    let mut plain = replaced.body.clone();
    plain["spec"]["type"] = "ClusterIP".into();
    let plain = send(&router, Method::PUT, &path, &plain).await;
    assert!(plain.body["spec"]["ports"][0].get("nodePort").is_none(), "{}", plain.body);
    let mut other = service.clone();
    other["metadata"]["name"] = "t".into();
    other["spec"]["ports"][0]["nodePort"] = made["spec"]["ports"][0]["nodePort"].clone();
    assert_eq!(send(&router, Method::POST, services, &other).await.code, 201, "the port is free again");
    let headless = json!({ "metadata": { "name": "h" }, "spec": { "clusterIP": "None", "selector": { "a": "b" } } });
    let headless = send(&router, Method::POST, services, &headless).await.body;
    assert_eq!((&headless["spec"]["clusterIPs"], &headless["spec"]["ipFamilies"]), (&json!(["None"]), &json!(["IPv4"])));
    let external = json!({ "metadata": { "name": "e" }, "spec": { "type": "ExternalName", "externalName": "example.com" } });
    let external = send(&router, Method::POST, services, &external).await;
    assert!(external.body["spec"].get("clusterIP").is_none() && external.code == 201, "{}", external.body);
}

const CLASSES: &str = "/apis/node.k8s.io/v1/runtimeclasses";

/// As upstream's tests have it: nothing but a program that ends.
fn of_class(class: &str, change: Value) -> Value {
    let mut spec = json!({
        "runtimeClassName": class, "restartPolicy": "Never", "automountServiceAccountToken": false,
        "containers": [{ "name": "test", "image": "busybox", "command": ["true"] }],
    });
    for (field, value) in change.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    json!({ "metadata": { "generateName": format!("test-runtimeclass-{class}-") }, "spec": spec })
}

#[tokio::test]
async fn a_pod_of_no_runtime_class_is_refused() {
    let router = server().await.in_process("test");
    let refused = |class: &'static str| {
        let router = router.clone();
        async move { send(&router, Method::POST, &format!("{PODS}?dryRun=All"), &of_class(class, json!({}))).await.status() }
    };
    expect![[r#"403 Forbidden: pods "test-runtimeclass-gone-" is forbidden: pod rejected: RuntimeClass "gone" not found"#]]
        .assert_eq(&refused("gone").await);
    let class = json!({ "metadata": { "name": "gone" }, "handler": "runc" });
    assert_eq!(send(&router, Method::POST, CLASSES, &class).await.code, 201);
    assert!(refused("gone").await.starts_with("201 "));
    assert_eq!(support::delete(&router, &format!("{CLASSES}/gone")).await.code, 200);
    assert!(refused("gone").await.starts_with("403 Forbidden"));
}

#[tokio::test]
async fn a_pod_has_the_overhead_of_its_runtime_class() {
    let router = server().await.in_process("test");
    let fixed = json!({ "cpu": "10m", "memory": "1Mi" });
    for (name, overhead) in [("heavy", json!({ "podFixed": fixed })), ("light", Value::Null)] {
        let class = json!({ "metadata": { "name": name }, "handler": "test-handler", "overhead": overhead });
        assert_eq!(send(&router, Method::POST, CLASSES, &class).await.code, 201);
    }
    let made = async |class: &str, change: Value| send(&router, Method::POST, PODS, &of_class(class, change)).await;
    assert_eq!(made("light", json!({})).await.body["spec"].get("overhead"), None);
    assert_eq!(made("heavy", json!({})).await.body["spec"]["overhead"], fixed);
    let same = json!({ "overhead": { "cpu": "0.01", "memory": "1024Ki" } });
    assert_eq!(made("heavy", same).await.body["spec"]["overhead"], fixed);
    let own = json!({ "overhead": { "cpu": "20m", "memory": "1Mi" } });
    expect![[r#"403 Forbidden: pods "test-runtimeclass-heavy-" is forbidden: pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"#]]
        .assert_eq(&made("heavy", own.clone()).await.status());
    let unasked = "is forbidden: pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";
    assert!(made("light", own.clone()).await.status().ends_with(unasked));
    let mut classless = pod("p");
    classless["spec"]["overhead"] = own["overhead"].clone();
    let refused = send(&router, Method::POST, PODS, &classless).await.status();
    assert_eq!(refused, format!("403 Forbidden: pods \"p\" {unasked}"));
    classless["spec"]["overhead"] = json!({ "cpu": "-1" });
    assert_eq!(send(&router, Method::POST, PODS, &classless).await.code, 422, "what is wrong in itself is told first");
}

#[tokio::test]
async fn a_pod_goes_where_its_runtime_class_is_served() {
    let router = server().await.in_process("test");
    let toleration = json!({ "key": "foo", "operator": "Equal", "value": "bar", "effect": "NoSchedule" });
    let class = json!({
        "metadata": { "name": "sandboxed" }, "handler": "test-handler",
        "scheduling": { "nodeSelector": { "foo": "bar", "fizz": "buzz" }, "tolerations": [toleration] },
    });
    assert_eq!(send(&router, Method::POST, CLASSES, &class).await.code, 201);
    let made = async |change: Value| send(&router, Method::POST, PODS, &of_class("sandboxed", change)).await;
    let conflict = made(json!({ "nodeSelector": { "foo": "conflict" } })).await.status();
    expect![[r#"403 Forbidden: pods "test-runtimeclass-sandboxed-" is forbidden: conflict: runtimeClass.scheduling.nodeSelector[foo] = bar; pod.spec.nodeSelector[foo] = conflict"#]]
        .assert_eq(&conflict);
    let spec =
        made(json!({ "nodeSelector": { "foo": "bar", "own": "x" }, "tolerations": [{ "key": "own" }] })).await.body["spec"]
            .clone();
    assert_eq!(spec["nodeSelector"], json!({ "foo": "bar", "fizz": "buzz", "own": "x" }));
    let keys: Vec<&str> = spec["tolerations"].as_array().unwrap().iter().filter_map(|each| each["key"].as_str()).collect();
    assert_eq!(keys, ["foo", "own", "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]);
    assert_eq!(spec["tolerations"][0], toleration);
    assert_eq!(made(json!({})).await.body["spec"]["nodeSelector"], json!({ "foo": "bar", "fizz": "buzz" }));
}
