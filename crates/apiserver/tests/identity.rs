//! Who may come in, and what for.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use axum::{Router, body::Body};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use expect_test::expect;
use http::{Method, Request, header::AUTHORIZATION};
use serde_json::{Value, json};
use support::{Answer, TOKEN, get, request, send, server};
use windlass_apiserver::{ApiServer, Clock, Options, pki::Pki};
use windlass_storage::Memory;

async fn ask(router: &Router, path: &str, token: Option<&str>) -> Answer {
    let mut builder = Request::builder().uri(path);
    if let Some(token) = token {
        builder = builder.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    request(router, builder.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn strangers_see_health_and_version_alone() {
    let router = server().await.router();
    for path in ["/healthz", "/livez", "/readyz", "/readyz/ping", "/version"] {
        assert_eq!(ask(&router, path, None).await.code, 200, "{path}");
    }
    for path in ["/api/v1/pods", "/api", "/metrics", "/nope"] {
        expect!["401 Unauthorized: Unauthorized"].assert_eq(&ask(&router, path, None).await.status());
        expect!["401 Unauthorized: Unauthorized"].assert_eq(&ask(&router, path, Some("wrong")).await.status());
    }
    let admin = ask(&router, "/api/v1/pods", Some(TOKEN)).await;
    assert_eq!(admin.code, 200);
    assert!(admin.headers.contains_key("audit-id"));
}

async fn account_token(router: &Router) -> String {
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let answer = send(router, Method::POST, path, &json!({ "spec": { "expirationSeconds": 600 } })).await;
    assert_eq!(answer.code, 201, "{}", answer.body);
    answer.body["status"]["token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_account_is_known_by_its_token_while_it_exists() {
    let server = server().await;
    let (inside, outside) = (server.in_process("test"), server.router());
    let token = account_token(&inside).await;
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let who = Request::post(path).header(AUTHORIZATION, format!("Bearer {token}")).body("{}".into()).unwrap();
    let who = request(&outside, who).await.body;
    assert_eq!(who["status"]["userInfo"]["username"], "system:serviceaccount:default:default");
    expect![[r#"403 Forbidden: pods is forbidden: User "system:serviceaccount:default:default" cannot list resource "pods" in API group "" in the namespace "default""#]]
        .assert_eq(&ask(&outside, "/api/v1/namespaces/default/pods", Some(&token)).await.status());
    assert_eq!(ask(&outside, "/apis", Some(&token)).await.code, 200, "everybody may look around");
    let review = json!({ "spec": { "token": token } });
    let review = send(&inside, Method::POST, "/apis/authentication.k8s.io/v1/tokenreviews", &review).await.body;
    assert_eq!(review["status"]["authenticated"], true);
    support::delete(&inside, "/api/v1/namespaces/default/serviceaccounts/default").await;
    assert_eq!(ask(&outside, "/apis", Some(&token)).await.code, 401);
}

#[tokio::test]
async fn roles_give_what_they_say() {
    let server = server().await;
    let (inside, outside) = (server.in_process("test"), server.router());
    let token = account_token(&inside).await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    let role =
        json!({ "metadata": { "name": "reader" }, "rules": [{ "apiGroups": [""], "resources": ["pods"], "verbs": ["list"] }] });
    assert_eq!(send(&inside, Method::POST, &format!("{rbac}/roles"), &role).await.code, 201);
    let binding = json!({
        "metadata": { "name": "reader" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader" },
        "subjects": [{ "kind": "ServiceAccount", "name": "default", "namespace": "default" }],
    });
    assert_eq!(send(&inside, Method::POST, &format!("{rbac}/rolebindings"), &binding).await.code, 201);
    assert_eq!(ask(&outside, "/api/v1/namespaces/default/pods", Some(&token)).await.code, 200);
    assert_eq!(ask(&outside, "/api/v1/namespaces/default/secrets", Some(&token)).await.code, 403);
    assert_eq!(ask(&outside, "/api/v1/pods", Some(&token)).await.code, 403);
}

/// Asks who one is, with these headers beside the token.
async fn who(router: &Router, token: &str, headers: &[(&str, &str)]) -> Answer {
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let mut builder = Request::post(path).header(AUTHORIZATION, format!("Bearer {token}"));
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    request(router, builder.body("{}".into()).unwrap()).await
}

#[tokio::test]
async fn somebody_else_in_every_respect() {
    let router = server().await.router();
    let headers = [
        ("impersonate-user", "jane"),
        ("impersonate-uid", "u1"),
        ("impersonate-group", "system:authenticated"),
        ("impersonate-group", "developers"),
        ("impersonate-extra-example.com%2Fscopes", "a"),
        ("impersonate-extra-example.com%2Fscopes", "b"),
    ];
    assert_eq!(
        who(&router, TOKEN, &headers).await.body["status"]["userInfo"],
        json!({
            "username": "jane", "uid": "u1", "groups": ["system:authenticated", "developers"],
            "extra": { "example.com/scopes": ["a", "b"] },
        })
    );
    let account = who(&router, TOKEN, &[("impersonate-user", "system:serviceaccount:default:x")]).await;
    let groups = json!(["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"]);
    assert_eq!(account.body["status"]["userInfo"]["groups"], groups);
    let nobody = [("impersonate-group", "g"), ("impersonate-extra-a", "b"), ("impersonate-uid", "u")];
    expect![[r#"400 BadRequest: requested [{Group  g    } {UserExtra  b  authentication.k8s.io/v1  a} {UID  u  authentication.k8s.io/v1  }] without impersonating a user"#]]
        .assert_eq(&who(&router, TOKEN, &nobody).await.status());
}

#[tokio::test]
async fn the_right_to_be_somebody_else() {
    let server = server().await;
    let (inside, outside) = (server.in_process("test"), server.router());
    let token = account_token(&inside).await;
    let jane = [("impersonate-user", "jane")];
    expect![[r#"403 Forbidden: users "jane" is forbidden: User "system:serviceaccount:default:default" cannot impersonate resource "users" in API group "" at the cluster scope"#]]
        .assert_eq(&who(&outside, &token, &jane).await.status());
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let rules = json!([
        { "apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"] },
        { "apiGroups": ["authentication.k8s.io"], "resources": ["userextras/a"], "verbs": ["impersonate"] },
    ]);
    let role = json!({ "metadata": { "name": "i" }, "rules": rules });
    assert_eq!(send(&inside, Method::POST, &format!("{rbac}/clusterroles"), &role).await.code, 201);
    let binding = json!({
        "metadata": { "name": "i" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "i" },
        "subjects": [{ "kind": "ServiceAccount", "name": "default", "namespace": "default" }],
    });
    assert_eq!(send(&inside, Method::POST, &format!("{rbac}/clusterrolebindings"), &binding).await.code, 201);
    assert_eq!(who(&outside, &token, &jane).await.body["status"]["userInfo"]["username"], "jane");
    assert_eq!(who(&outside, &token, &[jane[0], ("impersonate-extra-a", "1")]).await.code, 201);
    expect![[r#"403 Forbidden: userextras.authentication.k8s.io "1" is forbidden: User "system:serviceaccount:default:default" cannot impersonate resource "userextras/b" in API group "authentication.k8s.io" at the cluster scope"#]]
        .assert_eq(&who(&outside, &token, &[jane[0], ("impersonate-extra-b", "1")]).await.status());
    expect![[r#"403 Forbidden: groups "system:masters" is forbidden: User "system:serviceaccount:default:default" cannot impersonate resource "groups" in API group "" at the cluster scope"#]]
        .assert_eq(&who(&outside, &token, &[jane[0], ("impersonate-group", "system:masters")]).await.status());
}

/// Part of a token, decoded: 0 is the header, 1 the claims.
fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[tokio::test]
async fn others_find_the_key_of_a_token() {
    let server = server().await;
    let (inside, outside) = (server.in_process("test"), server.router());
    let token = account_token(&inside).await;
    let configuration = ask(&outside, "/.well-known/openid-configuration", Some(&token)).await;
    assert_eq!((configuration.code, &configuration.body["issuer"]), (200, &part(&token, 1)["iss"]));
    let keys = configuration.body["jwks_uri"].as_str().unwrap();
    let keys = ask(&outside, &format!("/{}", keys.splitn(4, '/').nth(3).unwrap()), Some(&token)).await;
    assert_eq!(keys.headers["content-type"], "application/jwk-set+json");
    let key = &keys.body["keys"][0];
    assert_eq!(key["kid"], part(&token, 0)["kid"]);
    let text = |name: &str| key[name].as_str().unwrap();
    let decoding = jsonwebtoken::DecodingKey::from_ec_components(text("x"), text("y")).unwrap();
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::ES256);
    validation.validate_aud = false;
    validation.validate_exp = false;
    assert!(jsonwebtoken::decode::<Value>(&token, &decoding, &validation).is_ok(), "the key is the one that signed");
    let jane =
        Request::get("/openid/v1/jwks").header(AUTHORIZATION, format!("Bearer {TOKEN}")).header("impersonate-user", "jane");
    assert_eq!(request(&outside, jane.body(Body::empty()).unwrap()).await.code, 403, "not everybody asks");
}

/// Makes the pod `a` on the node `n`, whether or not that is there.
async fn pod_on_a_node(router: &Router) {
    let mut pod = support::pod("a");
    pod["spec"]["nodeName"] = "n".into();
    assert_eq!(send(router, Method::POST, "/api/v1/namespaces/default/pods", &pod).await.code, 201);
}

/// A token of the account `default` that ends with an object.
async fn bound_token(router: &Router, kind: &str, name: &str) -> Value {
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let bound = json!({ "spec": { "boundObjectRef": { "kind": kind, "apiVersion": "v1", "name": name } } });
    let request = send(router, Method::POST, path, &bound).await;
    assert_eq!(request.code, 201, "{}", request.body);
    request.body["status"]["token"].clone()
}

#[tokio::test]
async fn a_token_of_a_pod_names_its_node() {
    let router = server().await.in_process("test");
    pod_on_a_node(&router).await;
    let token = bound_token(&router, "Pod", "a").await;
    assert_eq!(part(token.as_str().unwrap(), 1)["kubernetes.io"]["node"], json!({ "name": "n" }), "a node that is not there");
    let node = send(&router, Method::POST, "/api/v1/nodes", &json!({ "metadata": { "name": "n" } })).await.body;
    let token = bound_token(&router, "Pod", "a").await;
    let named = json!({ "name": "n", "uid": node["metadata"]["uid"] });
    assert_eq!(part(token.as_str().unwrap(), 1)["kubernetes.io"]["node"], named);
}

/// What a review says of the token.
async fn reviewed(router: &Router, token: &Value) -> Value {
    let review = json!({ "spec": { "token": token } });
    send(router, Method::POST, "/apis/authentication.k8s.io/v1/tokenreviews", &review).await.body["status"].clone()
}

#[tokio::test]
async fn a_token_of_a_node_ends_with_it() {
    let router = server().await.in_process("test");
    let nodes = "/api/v1/nodes";
    let named = json!({ "metadata": { "name": "n" } });
    let node = send(&router, Method::POST, nodes, &named).await.body["metadata"]["uid"].clone();
    let token = &bound_token(&router, "Node", "n").await;
    let said = part(token.as_str().unwrap(), 1)["kubernetes.io"].clone();
    assert_eq!((&said["node"], &said["pod"]), (&json!({ "name": "n", "uid": node }), &Value::Null));
    let known = reviewed(&router, token).await;
    assert_eq!(known["authenticated"], true);
    let extra = |name: &str| known["user"]["extra"][format!("authentication.kubernetes.io/{name}")].clone();
    assert_eq!((extra("node-name"), extra("node-uid")), (json!(["n"]), json!([node])));
    assert_eq!(send(&router, Method::DELETE, "/api/v1/nodes/n", &json!({})).await.code, 200);
    let error = async || reviewed(&router, token).await["error"].as_str().unwrap().to_owned();
    assert_eq!(error().await, "[invalid bearer token, service account token has been invalidated]");
    let other = send(&router, Method::POST, nodes, &named).await.body["metadata"]["uid"].as_str().unwrap().to_owned();
    let node = node.as_str().unwrap();
    let other = format!("node UID ({other}) does not match service account node ref claim ({node})");
    assert_eq!(error().await, format!("[invalid bearer token, {other}]"));
}

#[tokio::test]
async fn a_token_of_a_pod_outlives_its_node() {
    let router = server().await.in_process("test");
    let node = json!({ "metadata": { "name": "n" } });
    assert_eq!(send(&router, Method::POST, "/api/v1/nodes", &node).await.code, 201);
    pod_on_a_node(&router).await;
    let token = bound_token(&router, "Pod", "a").await;
    assert_eq!(send(&router, Method::DELETE, "/api/v1/nodes/n", &json!({})).await.code, 200);
    let known = reviewed(&router, &token).await;
    assert_eq!(
        (&known["authenticated"], &known["user"]["extra"]["authentication.kubernetes.io/node-name"]),
        (&json!(true), &json!(["n"]))
    );
}

#[tokio::test]
async fn a_token_that_cannot_be_had() {
    let router = server().await.in_process("test");
    let node = send(&router, Method::POST, "/api/v1/nodes", &json!({ "metadata": { "name": "n" } })).await;
    assert_eq!(node.code, 201);
    let refused = async |request: Value| {
        let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
        send(&router, Method::POST, path, &request).await.status()
    };
    let bound = async |version: &str, kind: &str, name: &str, uid: &str| {
        let reference = json!({ "apiVersion": version, "kind": kind, "name": name, "uid": uid });
        refused(json!({ "spec": { "boundObjectRef": reference } })).await
    };
    expect![[r#"404 NotFound: nodes "m" not found"#]].assert_eq(&bound("v1", "Node", "m", "").await);
    expect![[r#"409 Conflict: Operation cannot be fulfilled on Node "n": the UID in the bound object reference (u) does not match the UID in record. The object might have been deleted and then recreated"#]]
        .assert_eq(&bound("v1", "Node", "n", "u").await);
    expect!["400 BadRequest: cannot bind token to object of type /v1, Kind=ConfigMap"]
        .assert_eq(&bound("v1", "ConfigMap", "n", "").await);
    expect!["400 BadRequest: cannot bind token to object of type apps/v1, Kind=Node"]
        .assert_eq(&bound("apps/v1", "Node", "n", "").await);
    let mut pod = support::pod("a");
    pod["spec"]["serviceAccountName"] = "other".into();
    let account = json!({ "metadata": { "name": "other" } });
    assert_eq!(send(&router, Method::POST, "/api/v1/namespaces/default/serviceaccounts", &account).await.code, 201);
    assert_eq!(send(&router, Method::POST, "/api/v1/namespaces/default/pods", &pod).await.code, 201);
    expect![[
        r#"400 BadRequest: cannot bind token for serviceaccount "default" to pod running with different serviceaccount name."#
    ]]
    .assert_eq(&bound("v1", "Pod", "a", "").await);
    expect![[r#"422 Invalid: TokenRequest.authentication.k8s.io "default" is invalid: metadata.name: Invalid value: "x": must match the service account name if specified"#]]
        .assert_eq(&refused(json!({ "metadata": { "name": "x" } })).await);
    expect!["400 BadRequest: the namespace of the provided object does not match the namespace sent on the request"]
        .assert_eq(&refused(json!({ "metadata": { "namespace": "x" } })).await);
    let conflict = refused(json!({ "metadata": { "uid": "u" } })).await;
    let expected = "409 Conflict: Operation cannot be fulfilled on TokenRequest.authentication.k8s.io \"default\": the UID in the token request (u) does not match the UID of the service account (";
    assert!(conflict.starts_with(expected), "{conflict}");
    expect![[r#"422 Invalid: TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes"#]]
        .assert_eq(&refused(json!({ "spec": { "expirationSeconds": 599 } })).await);
}

/// A clock that shows what it is set to, in seconds.
#[derive(Debug, Default)]
struct Hands(AtomicI64);

impl Clock for Hands {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::from_second(self.0.load(Ordering::Relaxed)).unwrap()
    }
}

#[tokio::test]
async fn a_token_that_does_not_hold() {
    let clock = Arc::new(Hands(AtomicI64::new(1_000_000)));
    let hands = Arc::clone(&clock);
    let pki = Pki::generate(&["localhost".to_owned()]).unwrap();
    let options = Options { clock, ..Options::new(TOKEN, pki) };
    let router = ApiServer::new(Arc::new(Memory::new()), options).await.unwrap().in_process("test");
    let account = json!({ "metadata": { "name": "default" } });
    assert_eq!(send(&router, Method::POST, "/api/v1/namespaces/default/serviceaccounts", &account).await.code, 201);
    let token = Value::from(account_token(&router).await);
    let error = async |second: i64| {
        hands.0.store(second, Ordering::Relaxed);
        reviewed(&router, &token).await["error"].as_str().unwrap_or_default().to_owned()
    };
    // Clocks may differ by a minute.
    assert_eq!(error(1_000_000 + 600 + 60).await, "");
    assert_eq!(error(1_000_000 + 600 + 61).await, "[invalid bearer token, service account token has expired]");
    assert_eq!(error(1_000_000 - 60).await, "");
    assert_eq!(error(1_000_000 - 61).await, "[invalid bearer token, service account token is not valid yet]");
    hands.0.store(1_000_000, Ordering::Relaxed);
    let review = json!({ "spec": { "token": token, "audiences": ["a", "b"] } });
    let review = send(&router, Method::POST, "/apis/authentication.k8s.io/v1/tokenreviews", &review).await.body;
    expect![[r#"[invalid bearer token, token audiences ["https://kubernetes.default.svc.cluster.local"] is invalid for the target audiences ["a" "b"]]"#]]
        .assert_eq(review["status"]["error"].as_str().unwrap());
    assert_eq!(reviewed(&router, &json!("none")).await["error"], "invalid bearer token");
}

#[tokio::test]
async fn time_is_asked_for_as_go_writes_it() {
    let router = server().await.router();
    for good in ["1m", "500s", "1m30s", "0"] {
        assert_eq!(ask(&router, &format!("/api/v1/pods?timeout={good}"), Some(TOKEN)).await.code, 200, "{good}");
    }
    expect![[r#"400 BadRequest: invalid timeout specified in the request URL - time: invalid duration "invalid""#]]
        .assert_eq(&ask(&router, "/api/v1/pods?timeout=invalid", Some(TOKEN)).await.status());
}

#[tokio::test]
async fn may_i() {
    let router = server().await.in_process("test");
    let ask = |user: Option<&str>| {
        let mut spec = json!({ "resourceAttributes": { "verb": "create", "resource": "pods", "namespace": "default" } });
        let path = match user {
            Some(user) => {
                spec["user"] = user.into();
                "/apis/authorization.k8s.io/v1/subjectaccessreviews"
            }
            None => "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        };
        let router = router.clone();
        async move { send(&router, Method::POST, path, &json!({ "spec": spec })).await.body["status"]["allowed"].clone() }
    };
    assert_eq!(ask(None).await, true);
    assert_eq!(ask(Some("jane")).await, false);
}

#[tokio::test]
async fn discovery_can_be_kept() {
    let router = server().await.in_process("test");
    let first = get(&router, "/apis").await;
    assert_eq!(first.body["kind"], "APIGroupList");
    let etag = first.headers["etag"].clone();
    let again = Request::get("/apis").header("if-none-match", etag).body(Body::empty()).unwrap();
    assert_eq!(request(&router, again).await.code, 304);
    let all = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let all = Request::get("/apis").header("accept", all).body(Body::empty()).unwrap();
    let all = request(&router, all).await;
    assert_eq!(all.body["kind"], "APIGroupDiscoveryList");
    assert_eq!(all.headers["content-type"], "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
    let version: Value = get(&router, "/version").await.body;
    assert_eq!((&version["major"], &version["minor"]), (&json!("1"), &json!("36")));
    assert_eq!(get(&router, "/metrics").await.code, 200);
}
