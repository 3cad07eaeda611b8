//! Mistakes reach the client in upstream's words, wherever they are made.

mod support;

use expect_test::expect;
use http::Method;
use serde_json::{Value, json};
use support::{deployment, pod, send, send_as, server};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const PODS: &str = "/api/v1/namespaces/default/pods";
const SERVICES: &str = "/api/v1/namespaces/default/services";
const MERGE: &str = "application/merge-patch+json";

#[tokio::test]
async fn of_a_new_deployment() {
    let server = server().await;
    let router = server.in_process("test");
    let mut wrong = deployment("Web");
    wrong["spec"]["template"]["metadata"]["labels"]["app"] = json!("other");
    wrong["spec"]["template"]["spec"]["containers"][0] = json!({});
    let answer = send(&router, Method::POST, DEPLOYMENTS, &wrong).await;
    expect![[r#"422 Invalid: Deployment.apps "Web" is invalid: [metadata.name: Invalid value: "Web": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*'), spec.template.metadata.labels: Invalid value: {"app":"other"}: `selector` does not match template `labels`, spec.template.spec.containers[0].name: Required value, spec.template.spec.containers[0].image: Required value]"#]].assert_eq(&answer.status());
    let mut doubled = deployment("web");
    doubled["spec"]["template"]["spec"]["containers"][0]["env"] = json!([{ "name": "A" }, { "name": "A" }]);
    let answer = send(&router, Method::POST, DEPLOYMENTS, &doubled).await;
    assert_eq!(answer.code, 201);
    expect![[r#"299 - "spec.template.spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply""#]].assert_eq(answer.headers["warning"].to_str().unwrap());
}

#[tokio::test]
async fn of_a_change() {
    let server = server().await;
    let router = server.in_process("test");
    assert_eq!(send(&router, Method::POST, DEPLOYMENTS, &deployment("web")).await.code, 201);
    let patch = json!({ "spec": {
        "selector": { "matchLabels": { "app": "x" } }, "template": { "metadata": { "labels": { "app": "x" } } },
    } });
    let answer = send_as(&router, Method::PATCH, &format!("{DEPLOYMENTS}/web"), MERGE, patch.to_string()).await;
    expect![[r#"422 Invalid: Deployment.apps "web" is invalid: spec.selector: Invalid value: {"matchLabels":{"app":"x"}}: field is immutable"#]].assert_eq(&answer.status());
    let service = json!({ "metadata": { "name": "web" }, "spec": { "ports": [{ "port": 80 }] } });
    assert_eq!(send(&router, Method::POST, SERVICES, &service).await.code, 201);
    let patch = json!({ "spec": { "ports": [{ "port": 80, "protocol": "ICMP" }, { "name": "b", "port": 0 }] } });
    let answer = send_as(&router, Method::PATCH, &format!("{SERVICES}/web"), MERGE, patch.to_string()).await;
    expect![[r#"422 Invalid: Service "web" is invalid: [spec.ports[0].name: Required value, spec.ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP", spec.ports[1].port: Invalid value: 0: must be between 1 and 65535, inclusive, spec.ports[1].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive]"#]].assert_eq(&answer.status());
}

/// What the allocator fills in is there by the time it is asked for.
#[tokio::test]
async fn not_of_what_the_server_gives_out() {
    let server = server().await;
    let router = server.in_process("test");
    let local = json!({ "metadata": { "name": "web" }, "spec": {
        "type": "LoadBalancer", "externalTrafficPolicy": "Local", "ports": [{ "port": 80 }],
    } });
    let answer = send(&router, Method::POST, SERVICES, &local).await;
    assert_eq!(answer.code, 201, "{}", answer.status());
    let replaced: Value = json!({ "metadata": { "name": "web" }, "spec": { "ports": [{ "port": 81 }] } });
    let answer = send(&router, Method::PUT, &format!("{SERVICES}/web"), &replaced).await;
    assert_eq!(answer.code, 200, "{}", answer.status());
}

#[tokio::test]
async fn of_a_pod() {
    let server = server().await;
    let router = server.in_process("test");
    assert_eq!(send(&router, Method::POST, PODS, &pod("web")).await.code, 201);
    let patch = json!({ "spec": { "hostname": "other" } });
    let answer = send_as(&router, Method::PATCH, &format!("{PODS}/web"), MERGE, patch.to_string()).await;
    expect![[r#"
        422 Invalid: Pod "web" is invalid: spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)
        -  hostname: null
        +  hostname: "other"
    "#]].assert_eq(&answer.status());
    let debug = json!({ "spec": { "hostname": "ignored", "ephemeralContainers": [{ "name": "debug", "image": "busybox" }] } });
    let path = format!("{PODS}/web/ephemeralcontainers");
    let answer = send_as(&router, Method::PATCH, &path, MERGE, debug.to_string()).await;
    assert_eq!(answer.code, 200, "{}", answer.status());
    assert_eq!(answer.body["spec"]["ephemeralContainers"][0]["imagePullPolicy"], "Always");
    assert_eq!(answer.body["spec"]["hostname"], Value::Null);
}
