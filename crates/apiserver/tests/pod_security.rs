//! Pod Security: what the labels of a namespace refuse, and whom they warn.

mod support;

use axum::Router;
use expect_test::expect;
use http::{Method, header::WARNING};
use serde_json::{Value, json};
use support::{Answer, deployment, pod, send, send_as, server};

const DEFAULT: &str = "/api/v1/namespaces/default";
const PODS: &str = "/api/v1/namespaces/default/pods";

async fn patch(router: &Router, path: &str, change: &Value) -> Answer {
    send_as(router, Method::PATCH, path, "application/merge-patch+json", change.to_string()).await
}

/// Labels the namespace `default`.
async fn label(router: &Router, labels: &[(&str, &str)]) -> Answer {
    let labels: serde_json::Map<_, _> =
        labels.iter().map(|(key, value)| (format!("pod-security.kubernetes.io/{key}"), json!(value))).collect();
    patch(router, DEFAULT, &json!({ "metadata": { "labels": labels } })).await
}

/// The texts of the `Warning` headers.
fn warnings(answer: &Answer) -> Vec<String> {
    let headers = answer.headers.get_all(WARNING).iter().filter_map(|value| value.to_str().ok());
    headers.map(|value| value.strip_prefix("299 - ").unwrap_or(value).replace("\\\"", "'")).collect()
}

/// A pod that the restricted level lets be.
fn hardened(name: &str) -> Value {
    let mut pod = pod(name);
    pod["spec"]["securityContext"] = json!({ "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } });
    let context = json!({ "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } });
    pod["spec"]["containers"][0]["securityContext"] = context;
    pod
}

const FAULTS: &str = "allowPrivilegeEscalation != false (container 'web' must set securityContext.allowPrivilegeEscalation=false), \
     unrestricted capabilities (container 'web' must set securityContext.capabilities.drop=['ALL']), runAsNonRoot != true (pod or \
     container 'web' must set securityContext.runAsNonRoot=true), seccompProfile (pod or container 'web' must set \
     securityContext.seccompProfile.type to 'RuntimeDefault' or 'Localhost')";

#[tokio::test]
async fn pods_that_break_the_level_are_refused() {
    let router = server().await.in_process("test");
    assert_eq!(label(&router, &[("enforce", "restricted"), ("warn", "restricted")]).await.code, 200);
    let refused = send(&router, Method::POST, PODS, &pod("a")).await;
    expect![[r#"403 Forbidden: pods "a" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "web" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container "web" must set securityContext.capabilities.drop=["ALL"]), runAsNonRoot != true (pod or container "web" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container "web" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")"#]]
        .assert_eq(&refused.status());
    assert_eq!(refused.body["details"], json!({ "name": "a", "kind": "pods" }));
    assert_eq!(warnings(&refused), Vec::<String>::new(), "who is refused is not warned");
    let made = send(&router, Method::POST, PODS, &hardened("b")).await;
    assert_eq!((made.code, warnings(&made)), (201, Vec::new()), "the service account's token does no harm: {}", made.body);
    let mut generated = pod("");
    generated["metadata"] = json!({ "generateName": "web-" });
    let refused = send(&router, Method::POST, &format!("{PODS}?dryRun=All"), &generated).await.status();
    let name = refused.strip_prefix("403 Forbidden: pods \"web-").and_then(|rest| rest.split_once("\" is forbidden: violates"));
    assert_eq!(name.map(|(suffix, _)| suffix.len()), Some(5), "with its whole name: {refused}");
    let mut both = pod("c");
    both["spec"]["containers"][0]["ports"] = json!([{ "containerPort": 0 }]);
    assert_eq!(send(&router, Method::POST, PODS, &both).await.code, 422, "a pod that is none is not judged");
    label(&router, &[("enforce", "baseline"), ("enforce-version", "v1.20")]).await;
    let mut host = pod("d");
    host["spec"]["hostNetwork"] = true.into();
    expect![[r#"403 Forbidden: pods "d" is forbidden: violates PodSecurity "baseline:v1.20": host namespaces (hostNetwork)"#]]
        .assert_eq(&send(&router, Method::POST, PODS, &host).await.status());
}

#[tokio::test]
async fn changes_that_matter_are_judged_again() {
    let router = server().await.in_process("test");
    assert_eq!(send(&router, Method::POST, PODS, &pod("a")).await.code, 201);
    assert_eq!(send(&router, Method::POST, PODS, &hardened("b")).await.code, 201);
    label(&router, &[("enforce", "restricted")]).await;
    let image = json!({ "spec": { "containers": [{ "name": "web", "image": "nginx:1.16.1" }] } });
    let strategic = async |path: &str, change: &Value| {
        send_as(&router, Method::PATCH, path, "application/strategic-merge-patch+json", change.to_string()).await
    };
    let fine = strategic(&format!("{PODS}/a"), &json!({ "metadata": { "labels": { "x": "y" } } })).await;
    assert_eq!(fine.code, 200, "labels are no matter: {}", fine.body);
    let status = strategic(&format!("{PODS}/a/status"), &json!({ "status": { "phase": "Running" } })).await;
    assert_eq!(status.code, 200, "nor is what a kubelet says: {}", status.body);
    let refused = strategic(&format!("{PODS}/a"), &image).await.status();
    assert!(
        refused.starts_with("403 Forbidden: pods \"a\" is forbidden: violates PodSecurity \"restricted:latest\": allow"),
        "{refused}"
    );
    assert_eq!(strategic(&format!("{PODS}/b"), &image).await.code, 200);
    let debugger = json!({ "spec": { "ephemeralContainers": [{ "name": "debugger", "image": "busybox" }] } });
    expect![[r#"403 Forbidden: pods "b" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "debugger" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container "debugger" must set securityContext.capabilities.drop=["ALL"])"#]]
        .assert_eq(&strategic(&format!("{PODS}/b/ephemeralcontainers"), &debugger).await.status());
    label(&router, &[("enforce", "baseline")]).await;
    assert_eq!(strategic(&format!("{PODS}/b/ephemeralcontainers"), &debugger).await.code, 200);
}

#[tokio::test]
async fn who_makes_what_breaks_the_level_is_warned() {
    let router = server().await.in_process("test");
    let expected = vec![format!("\"would violate PodSecurity 'restricted:latest': {FAULTS}\"")];
    assert_eq!(warnings(&send(&router, Method::POST, PODS, &pod("before")).await), Vec::<String>::new());
    label(&router, &[("enforce", "baseline"), ("warn", "restricted")]).await;
    let made = send(&router, Method::POST, PODS, &pod("a")).await;
    assert_eq!((made.code, warnings(&made)), (201, expected.clone()));
    let template = deployment("web")["spec"]["template"].clone();
    let selector = json!({ "matchLabels": { "app": "web" } });
    let spec = json!({ "selector": selector, "template": template });
    let mut job = template.clone();
    job["spec"]["restartPolicy"] = "Never".into();
    let kinds = [
        ("/apis/apps/v1", "deployments", json!({ "spec": spec })),
        ("/apis/apps/v1", "replicasets", json!({ "spec": spec })),
        ("/apis/apps/v1", "daemonsets", json!({ "spec": spec })),
        (
            "/apis/apps/v1",
            "statefulsets",
            json!({ "spec": { "selector": selector, "template": template, "serviceName": "web" } }),
        ),
        ("/api/v1", "replicationcontrollers", json!({ "spec": { "selector": { "app": "web" }, "template": template } })),
        ("/api/v1", "podtemplates", json!({ "template": template })),
        ("/apis/batch/v1", "jobs", json!({ "spec": { "template": job } })),
        (
            "/apis/batch/v1",
            "cronjobs",
            json!({ "spec": { "schedule": "0 0 * * *", "jobTemplate": { "spec": { "template": job } } } }),
        ),
    ];
    for (group, plural, mut object) in kinds {
        object["metadata"] = json!({ "name": "web" });
        let path = format!("{group}/namespaces/default/{plural}");
        for path in [format!("{path}?dryRun=All"), path.clone()] {
            let made = send(&router, Method::POST, &path, &object).await;
            assert_eq!((made.code, warnings(&made)), (201, expected.clone()), "{path}: {}", made.body);
        }
        let changed = patch(&router, &format!("{path}/web"), &json!({ "metadata": { "labels": { "a": "b" } } })).await;
        assert_eq!((changed.code, warnings(&changed)), (200, expected.clone()), "{plural}");
    }
    let web = "/apis/apps/v1/namespaces/default/deployments/web";
    let same = patch(&router, web, &json!({ "metadata": { "labels": { "a": "b" } } })).await;
    assert_eq!((same.code, warnings(&same)), (200, expected), "as upstream, even where nothing changes");
    let scaled = patch(&router, &format!("{web}/scale"), &json!({ "spec": { "replicas": 2 } })).await;
    assert_eq!((scaled.code, warnings(&scaled)), (200, Vec::new()), "a scale has no pods of its own");
    label(&router, &[("enforce", "restricted"), ("warn", "privileged")]).await;
    let made = send(&router, Method::POST, "/apis/apps/v1/namespaces/default/deployments", &deployment("other")).await;
    assert_eq!((made.code, warnings(&made)), (201, Vec::new()), "only its pods are refused");
}

#[tokio::test]
async fn labels_must_mean_something() {
    let router = server().await.in_process("test");
    let labels = json!({ "pod-security.kubernetes.io/enforce": "strict", "pod-security.kubernetes.io/warn-version": "1.30" });
    let namespace = json!({ "metadata": { "name": "x", "labels": labels } });
    let refused = send(&router, Method::POST, "/api/v1/namespaces", &namespace).await;
    expect![[r#"422 Invalid: Namespace "x" is invalid: [metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: "strict": must be one of privileged, baseline, restricted, metadata.labels[pod-security.kubernetes.io/warn-version]: Invalid value: "1.30": must be "latest" or "v1.x"]"#]]
        .assert_eq(&refused.status());
    let cause = json!({
        "reason": "FieldValueInvalid", "field": "metadata.labels[pod-security.kubernetes.io/enforce]",
        "message": "Invalid value: \"strict\": must be one of privileged, baseline, restricted",
    });
    assert_eq!(refused.body["details"]["causes"][0], cause);
    expect![[r#"422 Invalid: Namespace "default" is invalid: metadata.labels[pod-security.kubernetes.io/audit]: Invalid value: "none": must be one of privileged, baseline, restricted"#]]
        .assert_eq(&label(&router, &[("audit", "none")]).await.status());
}

#[tokio::test]
async fn pods_that_are_there_are_told_of() {
    let router = server().await.in_process("test");
    for name in ["web-2", "web-1", "web-3"] {
        assert_eq!(send(&router, Method::POST, PODS, &pod(name)).await.code, 201);
    }
    let mut host = hardened("host");
    host["spec"]["hostPID"] = true.into();
    for pod in [host, hardened("fine")] {
        assert_eq!(send(&router, Method::POST, PODS, &pod).await.code, 201);
    }
    let expected = [
        "\"existing pods in namespace 'default' violate the new PodSecurity enforce level 'restricted:latest'\"",
        "\"host: host namespaces\"",
        "\"web-1 (and 2 other pods): allowPrivilegeEscalation != false, unrestricted capabilities, runAsNonRoot != true, seccompProfile\"",
    ];
    let restricted = json!({ "metadata": { "labels": { "pod-security.kubernetes.io/enforce": "restricted" } } });
    let tried = patch(&router, &format!("{DEFAULT}?dryRun=All"), &restricted).await;
    assert_eq!((tried.code, warnings(&tried)), (200, expected.iter().map(ToString::to_string).collect()), "{}", tried.body);
    assert_eq!(send(&router, Method::POST, PODS, &pod("after")).await.code, 201, "it was a trial");
    let steps = [
        (("warn", "restricted"), 0, "nothing is enforced by that"),
        (("enforce", "restricted"), 3, "more is asked"),
        (("enforce", "restricted"), 0, "the same is asked"),
        (("enforce-version", "v1.0"), 3, "another version is asked for"),
        (("enforce", "baseline"), 0, "less of the same version is asked"),
        (("enforce-version", "latest"), 2, "another version is asked for"),
        (("enforce", "privileged"), 0, "nothing is asked"),
    ];
    for (step, lines, why) in steps {
        let labelled = label(&router, &[step]).await;
        assert_eq!((labelled.code, warnings(&labelled).len()), (200, lines), "{why}: {:?}", warnings(&labelled));
    }
}
