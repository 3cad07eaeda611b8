//! Answers to raw requests, to the word: what clients recognise errors by.

mod support;

use expect_test::{Expect, expect};
use http::Method;
use serde_json::json;
use support::{Answer, config_map, delete, deployment, get, pod, send, send_as, server};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn check(answer: &Answer, expect: Expect) {
    expect.assert_eq(&answer.status());
}

#[tokio::test]
async fn what_is_not_there() {
    let router = server().await.in_process("test");
    check(&get(&router, "/api/v1/namespaces/default/pods/x").await, expect![[r#"404 NotFound: pods "x" not found"#]]);
    let deployment = "/apis/apps/v1/namespaces/default/deployments/x";
    check(&get(&router, deployment).await, expect![[r#"404 NotFound: deployments.apps "x" not found"#]]);
    for path in ["/api/v1/nope", "/apis/nope/v1/pods", "/api/v2/pods", "/api/v1/pods/x", "/nope", "/api/v1/namespaces/a/nodes"] {
        let answer = get(&router, path).await;
        assert_eq!((answer.code, answer.body.as_str()), (404, Some("404 page not found\n")), "{path}");
    }
    let answer = send(&router, Method::POST, "/api/v1/pods", &pod("a")).await;
    assert_eq!(answer.code, 405);
    check(
        &send(&router, Method::POST, "/api/v1/namespaces/nope/configmaps", &config_map("a", "1")).await,
        expect![[r#"404 NotFound: namespaces "nope" not found"#]],
    );
}

#[tokio::test]
async fn bodies_that_do_not_fit() {
    let router = server().await.in_process("test");
    let wrong_namespace = json!({ "metadata": { "name": "a", "namespace": "other" } });
    check(
        &send(&router, Method::POST, MAPS, &wrong_namespace).await,
        expect!["400 BadRequest: the namespace of the provided object does not match the namespace sent on the request"],
    );
    check(
        &send(&router, Method::POST, MAPS, &deployment("a")).await,
        expect!["400 BadRequest: the API version in the data (apps/v1) does not match the expected API version (v1)"],
    );
    check(
        &send(&router, Method::POST, MAPS, &pod("a")).await,
        expect![[
            r#"400 BadRequest: Pod in version "v1" cannot be handled as a ConfigMap: converting (v1.Pod) to (v1.ConfigMap): unknown conversion"#
        ]],
    );
    let mut many = deployment("a");
    many["spec"]["replicas"] = "many".into();
    check(
        &send(&router, Method::POST, "/apis/apps/v1/namespaces/default/deployments", &many).await,
        expect![[
            r#"400 BadRequest: Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"#
        ]],
    );
    let old = json!({ "metadata": { "name": "a", "resourceVersion": "5" } });
    check(
        &send(&router, Method::POST, MAPS, &old).await,
        expect!["500 : resourceVersion should not be set on objects to be created"],
    );
    check(
        &send_as(&router, Method::POST, MAPS, "text/csv", "a,b").await,
        expect![
            "415 UnsupportedMediaType: the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf"
        ],
    );
    let huge = config_map("a", &"x".repeat(3 * 1024 * 1024));
    check(
        &send(&router, Method::POST, MAPS, &huge).await,
        expect!["413 RequestEntityTooLarge: Request entity too large: limit is 3145728"],
    );
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(send_as(&router, Method::POST, MAPS, "application/json", deep).await.code, 400);
    let yaml = "metadata: {name: from-yaml}\ndata: {a: 'yes'}\n";
    assert_eq!(send_as(&router, Method::POST, MAPS, "application/yaml", yaml).await.code, 201);
}

#[tokio::test]
async fn unknown_fields() {
    let router = server().await.in_process("test");
    let mut object = config_map("a", "1");
    object["spec"] = json!({});
    let strict = format!("{MAPS}?fieldValidation=Strict");
    check(
        &send(&router, Method::POST, &strict, &object).await,
        expect![[
            r#"400 BadRequest: ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field "spec""#
        ]],
    );
    let warned = send(&router, Method::POST, MAPS, &object).await;
    assert_eq!(warned.headers["warning"], r#"299 - "unknown field \"spec\"""#);
    assert!(warned.body.get("spec").is_none(), "what is unknown is not stored");
    let ignored = send(&router, Method::PUT, &format!("{MAPS}/a?fieldValidation=Ignore"), &object).await;
    assert!(!ignored.headers.contains_key("warning"));
    check(
        &send(&router, Method::POST, &format!("{MAPS}?fieldValidation=Maybe"), &object).await,
        expect![[
            r#"422 Invalid: CreateOptions.meta.k8s.io "" is invalid: fieldValidation: Unsupported value: "Maybe": supported values: "Ignore", "Strict", "Warn""#
        ]],
    );
}

#[tokio::test]
async fn updates_and_conflicts() {
    let router = server().await.in_process("test");
    let made = send(&router, Method::POST, MAPS, &config_map("a", "1")).await;
    check(
        &send(&router, Method::POST, MAPS, &config_map("a", "1")).await,
        expect![[r#"409 AlreadyExists: configmaps "a" already exists"#]],
    );
    let path = format!("{MAPS}/a");
    check(
        &send(&router, Method::PUT, &path, &config_map("b", "1")).await,
        expect!["400 BadRequest: the name of the object (b) does not match the name on the URL (a)"],
    );
    let mut stale = made.body.clone();
    stale["metadata"]["resourceVersion"] = "1".into();
    stale["data"]["key"] = "2".into();
    check(
        &send(&router, Method::PUT, &path, &stale).await,
        expect![[
            r#"409 Conflict: Operation cannot be fulfilled on configmaps "a": the object has been modified; please apply your changes to the latest version and try again"#
        ]],
    );
    let written = send(&router, Method::PUT, &path, &config_map("a", "2")).await;
    assert_eq!((written.code, &written.body["data"]["key"]), (200, &json!("2")), "without a revision it overwrites");
    let mut other = config_map("a", "3");
    other["metadata"]["uid"] = "someone-else".into();
    assert_eq!(send(&router, Method::PUT, &path, &other).await.code, 409);
    check(
        &send(&router, Method::PUT, &format!("{MAPS}/c"), &config_map("c", "1")).await,
        expect![[r#"404 NotFound: configmaps "c" not found"#]],
    );
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    let lease = json!({ "metadata": { "name": "l" }, "spec": { "holderIdentity": "me" } });
    assert_eq!(send(&router, Method::PUT, &format!("{leases}/l"), &lease).await.code, 201, "some kinds are created so");
    check(
        &send(&router, Method::PUT, &format!("{leases}/l"), &lease).await,
        expect![[
            r#"422 Invalid: leases.coordination.k8s.io "l" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update"#
        ]],
    );
}

#[tokio::test]
async fn patches() {
    let router = server().await.in_process("test");
    send(&router, Method::POST, MAPS, &config_map("a", "1")).await;
    let path = format!("{MAPS}/a");
    let patch = |media: &'static str, body: serde_json::Value| {
        let (router, path) = (router.clone(), path.clone());
        async move { send_as(&router, Method::PATCH, &path, media, body.to_string()).await }
    };
    let json_patch = "application/json-patch+json";
    let patched = patch(json_patch, json!([{ "op": "add", "path": "/data/b", "value": "2" }])).await;
    assert_eq!((patched.code, &patched.body["data"]), (200, &json!({ "key": "1", "b": "2" })));
    let failed = patch(json_patch, json!([{ "op": "test", "path": "/data/b", "value": "3" }])).await;
    assert_eq!((failed.code, failed.body["reason"].as_str()), (422, Some("Invalid")));
    let stale =
        patch("application/merge-patch+json", json!({ "metadata": { "resourceVersion": "1" }, "data": { "c": "3" } })).await;
    assert_eq!(stale.code, 409, "a patch that names a revision must find it");
    check(
        &patch("application/json", json!({})).await,
        expect![
            "415 UnsupportedMediaType: the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml"
        ],
    );
    check(
        &patch("application/apply-patch+yaml", config_map("a", "1")).await,
        expect![[
            r#"422 Invalid: PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch"#
        ]],
    );
    let before = get(&router, &path).await.body;
    let same = patch("application/merge-patch+json", json!({ "data": { "b": "2" } })).await;
    assert_eq!(same.body, before, "a patch that changes nothing writes nothing");
}

#[tokio::test]
async fn dry_runs_change_nothing() {
    let router = server().await.in_process("test");
    let answer = send(&router, Method::POST, &format!("{MAPS}?dryRun=All"), &config_map("a", "1")).await;
    assert_eq!(answer.code, 201);
    assert!(answer.body["metadata"]["uid"].is_string() && answer.body["metadata"].get("resourceVersion").is_none());
    assert_eq!(get(&router, &format!("{MAPS}/a")).await.code, 404);
    send(&router, Method::POST, MAPS, &config_map("a", "1")).await;
    let put = send(&router, Method::PUT, &format!("{MAPS}/a?dryRun=All"), &config_map("a", "2")).await;
    assert_eq!(put.body["data"]["key"], "2");
    assert_eq!(delete(&router, &format!("{MAPS}/a?dryRun=All")).await.code, 200);
    assert_eq!(get(&router, &format!("{MAPS}/a")).await.body["data"]["key"], "1");
    check(
        &send(&router, Method::POST, &format!("{MAPS}?dryRun=Some"), &config_map("b", "1")).await,
        expect![[
            r#"422 Invalid: CreateOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: "Some": supported values: "All""#
        ]],
    );
}

#[tokio::test]
async fn names_are_generated() {
    let router = server().await.in_process("test");
    let object = json!({ "metadata": { "generateName": "web-" } });
    let (first, second) = (send(&router, Method::POST, MAPS, &object).await, send(&router, Method::POST, MAPS, &object).await);
    let name = first.body["metadata"]["name"].as_str().unwrap();
    assert!(name.len() == 9 && name.starts_with("web-"), "{name}");
    assert_ne!(first.body["metadata"]["name"], second.body["metadata"]["name"]);
}

#[tokio::test]
async fn pods_without_an_account_are_refused() {
    let router = server().await.in_process("test");
    let mut pod = pod("a");
    pod["spec"]["serviceAccountName"] = "nobody".into();
    check(
        &send(&router, Method::POST, "/api/v1/namespaces/default/pods", &pod).await,
        expect![[
            r#"403 Forbidden: pods "a" is forbidden: error looking up service account default/nobody: serviceaccount "nobody" not found"#
        ]],
    );
}

#[tokio::test]
async fn tables_and_metadata_alone() {
    let router = server().await.in_process("test");
    send(&router, Method::POST, MAPS, &config_map("a", "1")).await;
    let ask = |accept: &str| {
        let request = http::Request::builder().uri(MAPS).header("accept", accept).body(axum::body::Body::empty()).unwrap();
        let router = router.clone();
        async move { support::request(&router, request).await }
    };
    let table = ask("application/json;as=Table;v=v1;g=meta.k8s.io,application/json").await.body;
    assert_eq!(table["kind"], "Table");
    assert_eq!(table["columnDefinitions"][0]["name"], "Name");
    assert_eq!((&table["rows"][0]["cells"][0], &table["rows"][0]["cells"][1]), (&json!("a"), &json!(1)));
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let partial = ask("application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io").await.body;
    assert_eq!((&partial["kind"], partial["items"][0].get("data")), (&json!("PartialObjectMetadataList"), None));
    check(
        &ask("application/vnd.kubernetes.protobuf").await,
        expect!["406 NotAcceptable: only the following media types are accepted: application/json, application/yaml"],
    );
    let yaml = ask("application/yaml").await;
    assert!(yaml.body.as_str().unwrap().contains("kind: ConfigMapList"), "{:?}", yaml.body);
}

#[tokio::test]
async fn answers_to_questions_have_no_columns() {
    let router = server().await.in_process("test");
    let ask = |accept: &'static str| {
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        let request = http::Request::post(path).header("accept", accept).body("{}".into()).unwrap();
        let router = router.clone();
        async move { support::request(&router, request).await }
    };
    check(
        &ask("application/json;as=Table;v=v1;g=meta.k8s.io").await,
        expect!["406 NotAcceptable: only the following media types are accepted: application/json, application/yaml"],
    );
    assert_eq!(ask("application/json;as=Table;v=v1;g=meta.k8s.io,application/json").await.code, 201);
}

#[tokio::test]
async fn the_path_may_say_the_name() {
    let router = server().await.in_process("test");
    let apply = "application/apply-patch+yaml";
    let path = format!("{MAPS}/a?fieldManager=m");
    let nameless = json!({ "apiVersion": "v1", "kind": "ConfigMap", "data": { "key": "2" } });
    check(
        &send_as(&router, Method::PATCH, &path, apply, nameless.to_string()).await,
        expect!["400 BadRequest: the name of the object (a based on URL) was undeterminable: name must be provided"],
    );
    assert_eq!(send(&router, Method::POST, MAPS, &config_map("a", "2")).await.code, 201);
    let applied = send_as(&router, Method::PATCH, &path, apply, nameless.to_string()).await;
    assert_eq!(applied.code, 200, "{}", applied.status());
    check(
        &send(&router, Method::PUT, &format!("{MAPS}/a"), &nameless).await,
        expect!["400 BadRequest: the name of the object (a based on URL) was undeterminable: name must be provided"],
    );
}

#[tokio::test]
async fn an_owner_is_named_once() {
    let router = server().await.in_process("test");
    let owner = |uid: &str| json!({ "apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": uid });
    let mut object = config_map("a", "1");
    object["metadata"]["ownerReferences"] = json!([owner("u1"), owner("u2"), owner("u1")]);
    let made = send(&router, Method::POST, MAPS, &object).await;
    assert_eq!(made.body["metadata"]["ownerReferences"], json!([owner("u1"), owner("u2")]));
    expect![[r#"299 - ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: u1""#]]
        .assert_eq(made.headers["warning"].to_str().unwrap());
    let replaced = send(&router, Method::PUT, &format!("{MAPS}/a"), &object).await;
    assert_eq!(replaced.body["metadata"]["ownerReferences"], json!([owner("u1"), owner("u2")]));
    let patch = json!({ "metadata": { "ownerReferences": [owner("u3"), owner("u3")] } });
    let patched = send_as(&router, Method::PATCH, &format!("{MAPS}/a"), "application/merge-patch+json", patch.to_string()).await;
    assert_eq!(patched.body["metadata"]["ownerReferences"], json!([owner("u3")]));
    expect![[r#"299 - ".metadata.ownerReferences contains duplicate entries after mutating admission happens; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: u3""#]]
        .assert_eq(patched.headers["warning"].to_str().unwrap());
}

#[tokio::test]
async fn events_have_two_spellings() {
    let router = server().await.in_process("test");
    let event = json!({
        "metadata": { "name": "e", "namespace": "default" }, "involvedObject": { "kind": "Pod", "name": "p", "namespace": "default" },
        "message": "hello", "reason": "Hi", "type": "Normal", "source": { "component": "test" },
    });
    let made = send(&router, Method::POST, "/api/v1/namespaces/default/events", &event).await;
    assert_eq!(made.code, 201, "{}", made.body);
    let other = get(&router, "/apis/events.k8s.io/v1/namespaces/default/events/e").await.body;
    assert_eq!((&other["note"], &other["regarding"]["name"]), (&json!("hello"), &json!("p")));
    let selected = "/api/v1/namespaces/default/events?fieldSelector=involvedObject.name=p,type!=Warning";
    assert_eq!(get(&router, selected).await.body["items"].as_array().map(Vec::len), Some(1));
    check(
        &get(&router, "/api/v1/namespaces/default/pods?fieldSelector=spec.foo=bar").await,
        expect!["400 BadRequest: field label not supported: spec.foo"],
    );
}
