//! What is said about fields that a kind does not have and keys that come twice, as upstream's own tests ask for it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use expect_test::{Expect, expect};
use http::Method;
use support::{Answer, config_map, deployment, get, send, send_as, server};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

const BODY: &str = r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"first","name":"web","labels":{"app":"web"}},
    "spec":{"unknown1":"a","unknownDupe":"a","unknownDupe":"b","paused":true,"paused":false,"replicas":0,
    "selector":{"matchLabels":{"app":"web"}},"template":{"metadata":{"labels":{"app":"web"}},"spec":{"containers":
    [{"name":"web","image":"nginx","unknownNested":"a","imagePullPolicy":"Always","imagePullPolicy":"Never"}]}}}}"#;

const YAML: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  unknown1: a
  replicas: 1
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: nginx
        unknownNested: a
        imagePullPolicy: Always
        imagePullPolicy: Never
";

fn warnings(answer: &Answer, expect: Expect) {
    let lines: Vec<&str> = answer.headers.get_all("warning").iter().map(|value| value.to_str().unwrap()).collect();
    expect.assert_eq(&lines.join("\n"));
}

#[tokio::test]
async fn of_json_in_its_own_order() {
    let router = server().await.in_process("test");
    let media = "application/json";
    let strict = send_as(&router, Method::POST, &format!("{DEPLOYMENTS}?fieldValidation=Strict"), media, BODY).await;
    expect![[r#"400 BadRequest: Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: duplicate field "metadata.name", unknown field "spec.unknown1", unknown field "spec.unknownDupe", duplicate field "spec.paused", unknown field "spec.template.spec.containers[0].unknownNested", duplicate field "spec.template.spec.containers[0].imagePullPolicy""#]]
        .assert_eq(&strict.status());
    let warned = send_as(&router, Method::POST, DEPLOYMENTS, media, BODY).await;
    assert_eq!((warned.code, &warned.body["metadata"]["name"]), (201, &"web".into()), "{}", warned.status());
    warnings(
        &warned,
        expect![[r#"
            299 - "duplicate field \"metadata.name\""
            299 - "unknown field \"spec.unknown1\""
            299 - "unknown field \"spec.unknownDupe\""
            299 - "duplicate field \"spec.paused\""
            299 - "unknown field \"spec.template.spec.containers[0].unknownNested\""
            299 - "duplicate field \"spec.template.spec.containers[0].imagePullPolicy\"""#]],
    );
    let ignored = send_as(&router, Method::PUT, &format!("{DEPLOYMENTS}/web?fieldValidation=Ignore"), media, BODY).await;
    assert_eq!(ignored.code, 200);
    warnings(&ignored, expect![[""]]);
}

#[tokio::test]
async fn of_yaml_by_line() {
    let router = server().await.in_process("test");
    let media = "application/yaml";
    let strict = send_as(&router, Method::POST, &format!("{DEPLOYMENTS}?fieldValidation=Strict"), media, YAML).await;
    expect![[r#"
        400 BadRequest: Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: yaml: unmarshal errors:
          line 8: key "replicas" already set in map
          line 18: key "imagePullPolicy" already set in map, unknown field "spec.template.spec.containers[0].unknownNested", unknown field "spec.unknown1""#]]
        .assert_eq(&strict.status());
    let warned = send_as(&router, Method::POST, DEPLOYMENTS, media, YAML).await;
    assert_eq!((warned.code, &warned.body["spec"]["replicas"]), (201, &0.into()), "{}", warned.status());
    warnings(
        &warned,
        expect![[r#"
            299 - "line 8: key \"replicas\" already set in map"
            299 - "line 18: key \"imagePullPolicy\" already set in map"
            299 - "unknown field \"spec.template.spec.containers[0].unknownNested\""
            299 - "unknown field \"spec.unknown1\"""#]],
    );
}

#[tokio::test]
async fn of_patches() {
    let router = server().await.in_process("test");
    assert_eq!(send(&router, Method::POST, DEPLOYMENTS, &deployment("web")).await.code, 201);
    let (strict, path) = (format!("{DEPLOYMENTS}/web?fieldValidation=Strict"), format!("{DEPLOYMENTS}/web"));
    let patch = r#"{"spec":{"unknown1":"a","paused":true,"paused":false}}"#;
    for media in ["application/merge-patch+json", "application/strategic-merge-patch+json"] {
        let refused = send_as(&router, Method::PATCH, &strict, media, patch).await;
        assert_eq!(refused.code, 422);
        let message = refused.status();
        assert!(
            message.ends_with(r#"strict decoding error: duplicate field "spec.paused", unknown field "spec.unknown1""#),
            "{media}: {message}"
        );
        let warned = send_as(&router, Method::PATCH, &path, media, patch).await;
        assert_eq!(warned.code, 200);
        warnings(
            &warned,
            expect![[r#"
                299 - "duplicate field \"spec.paused\""
                299 - "unknown field \"spec.unknown1\"""#]],
        );
    }
    let patch = r#"[{"op":"add","path":"/spec/unknown1","value":"a","foo":"bar"},
        {"op":"add","path":"/spec/other","path":"/spec/unknown2","value":"a"}]"#;
    let refused = send_as(&router, Method::PATCH, &strict, "application/json-patch+json", patch).await;
    let message = refused.status();
    assert!(
        message.ends_with(
            r#"strict decoding error: json patch unknown field "[0].foo", json patch duplicate field "[1].path", unknown field "spec.unknown1", unknown field "spec.unknown2""#
        ),
        "{message}"
    );
}

#[tokio::test]
async fn of_a_configuration() {
    let router = server().await.in_process("test");
    let (path, media) = (format!("{MAPS}/a?fieldManager=m"), "application/apply-patch+yaml");
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  x: one\n  x: two\n";
    let refused = send_as(&router, Method::PATCH, &format!("{path}&fieldValidation=Strict"), media, text).await;
    expect![[r#"
        400 BadRequest: error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:
          line 7: key "x" already set in map"#]]
    .assert_eq(&refused.status());
    let warned = send_as(&router, Method::PATCH, &path, media, text).await;
    assert_eq!((warned.code, &warned.body["data"]["x"]), (201, &"two".into()));
    warnings(&warned, expect![[r#"299 - "line 7: key \"x\" already set in map""#]]);
    assert_eq!(send(&router, Method::PUT, &format!("{MAPS}/a"), &config_map("a", "1")).await.code, 200);
    assert_eq!(get(&router, &format!("{MAPS}/a")).await.code, 200);
}
