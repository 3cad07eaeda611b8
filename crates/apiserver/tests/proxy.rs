//! What `pods/proxy`, `services/proxy` and `nodes/proxy` lead to, on a node that tells what reached it.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test that called it")]

mod support;

use std::sync::Arc;

use axum::{
    Router,
    extract::Request,
    response::{Html, IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, Method};
use serde_json::{Value, json};
use support::{Answer, TOKEN, get, pod, request, send, send_as};
use windlass_apiserver::{ApiServer, Nodes, Options, pki::Pki};
use windlass_storage::Memory;

/// The node `node-1`.
#[derive(Debug)]
struct OneNode;

impl Nodes for OneNode {
    fn router(&self, node: &str) -> Option<Router> {
        (node == "node-1").then(|| Router::new().fallback(told_back))
    }
}

async fn told_back(request: Request) -> Response {
    if request.uri().path().ends_with("/page") {
        return Html("<!-- <a href='/'> --><a href=\"/rewriteme\">test</a>").into_response();
    }
    if request.uri().path().ends_with("/open") {
        let mut answer = Response::default();
        for what in ["allow-origin", "allow-methods", "allow-headers", "allow-credentials", "expose-headers"] {
            let name = HeaderName::try_from(format!("access-control-{what}")).unwrap();
            answer.headers_mut().insert(name, HeaderValue::from_static("true"));
        }
        return answer;
    }
    let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let forwarded = ["x-forwarded-uri", "x-forwarded-host", "x-forwarded-proto"].map(header);
    let private = ["authorization", "impersonate-user", "impersonate-extra-a"].map(header);
    axum::Json(json!({ "path": request.uri().path(), "forwarded": forwarded, "private": private })).into_response()
}

/// A server with `node-1` and the pod `web` on it, behind the Service `web`.
async fn router() -> Router {
    let pki = Pki::generate(&["localhost".to_owned()]).unwrap();
    let options = Options { nodes: Arc::new(OneNode), ..Options::new(TOKEN, pki) };
    let router = ApiServer::new(Arc::new(Memory::new()), options).await.unwrap().in_process("test");
    let node = json!({ "metadata": { "name": "node-1" } });
    let mut web = pod("web");
    web["spec"]["nodeName"] = "node-1".into();
    web["spec"]["containers"][0]["ports"] = json!([{ "containerPort": 80 }]);
    let service = json!({ "metadata": { "name": "web" }, "spec": { "ports": [{ "port": 80 }] } });
    let account = json!({ "metadata": { "name": "default" } });
    for (path, object) in [
        ("/api/v1/nodes", node),
        ("/api/v1/namespaces/default/serviceaccounts", account),
        ("/api/v1/namespaces/default/pods", web),
        ("/api/v1/namespaces/default/services", service),
    ] {
        let made = send(&router, Method::POST, path, &object).await;
        assert_eq!(made.code, 201, "{}", made.body);
    }
    let status = json!({ "status": { "podIP": "10.244.0.2", "podIPs": [{ "ip": "10.244.0.2" }] } }).to_string();
    let patched = "/api/v1/namespaces/default/pods/web/status";
    assert_eq!(send_as(&router, Method::PATCH, patched, "application/merge-patch+json", status).await.code, 200);
    router
}

async fn endpoints(router: &Router, target: Value) {
    let address = json!({ "ip": "10.244.0.2", "targetRef": target });
    let endpoints = json!({
        "apiVersion": "v1", "kind": "Endpoints", "metadata": { "name": "web" },
        "subsets": [{ "addresses": [address], "ports": [{ "port": 80 }] }],
    });
    let path = "/api/v1/namespaces/default/endpoints/web";
    let made = send(router, Method::PUT, path, &endpoints).await;
    assert!(matches!(made.code, 200 | 201), "{}", made.body);
}

#[tokio::test]
async fn a_page_is_led_below() {
    let router = router().await;
    endpoints(&router, json!({ "kind": "Pod", "name": "web", "namespace": "default" })).await;
    for place in ["pods/web", "pods/web:80", "pods/http:web:80", "services/web", "services/http:web:80"] {
        let prefix = format!("/api/v1/namespaces/default/{place}/proxy");
        let page = get(&router, &format!("{prefix}/page")).await;
        let led = format!("<!-- <a href='/'> --><a href=\"{prefix}/rewriteme\">test</a>");
        assert_eq!((page.code, page.body), (200, Value::from(led)));
    }
}

#[tokio::test]
async fn the_path_alone_is_told() {
    let router = router().await;
    let path = "/api/v1/namespaces/default/pods/web/proxy/a%20b/";
    let asked = Request::get(path)
        .header(HeaderName::from_static("host"), "localhost:8001")
        .header("impersonate-user", "jane")
        .header("impersonate-group", "system:masters")
        .header("impersonate-extra-a", "b");
    let Answer { body, .. } = request(&router, asked.body(axum::body::Body::empty()).unwrap()).await;
    let (place, private) = ("/podProxy/default/web/http:80/a%20b/", [Value::Null, Value::Null, Value::Null]);
    assert_eq!(body, json!({ "path": place, "forwarded": [path, null, null], "private": private }));
}

#[tokio::test]
async fn what_a_server_allows_other_origins_is_not_the_api_servers_to_say() {
    let router = router().await;
    let allowed = async |path: &str, connection: &str| {
        let asked = Request::get(path).header("connection", connection).body(axum::body::Body::empty()).unwrap();
        let answer = request(&router, asked).await;
        let names = answer.headers.keys().filter_map(|name| name.as_str().strip_prefix("access-control-"));
        names.map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    for path in ["/api/v1/namespaces/default/pods/web/proxy/open", "/api/v1/nodes/node-1/proxy/open"] {
        assert_eq!(allowed(path, "close").await, "expose-headers");
        assert_ne!(allowed(path, "Upgrade").await, "expose-headers", "nobody looks into that");
    }
}

#[tokio::test]
async fn a_node_is_its_kubelet() {
    let router = router().await;
    for place in ["node-1", "node-1:10250", "https:node-1:10250"] {
        let answer = get(&router, &format!("/api/v1/nodes/{place}/proxy/logs/")).await;
        assert_eq!((answer.code, &answer.body["path"]), (200, &json!("/logs/")), "{place}");
    }
    let refused = async |place: &str| get(&router, &format!("/api/v1/nodes/{place}/proxy/logs/")).await.status();
    assert_eq!(refused("nope").await, "404 NotFound: nodes \"nope\" not found");
    assert_eq!(refused("nope:10250").await, "404 NotFound: nodes \"nope\" not found");
    assert_eq!(refused("a:b:c:d").await, "400 BadRequest: invalid node request \"a:b:c:d\"");
    assert!(refused("node-1:10255").await.starts_with("503 ServiceUnavailable: error trying to reach service: dial tcp"));
}

#[tokio::test]
async fn a_service_without_pods_says_so() {
    let router = router().await;
    let refused = async |place: &str| get(&router, &format!("/api/v1/namespaces/default/services/{place}/proxy/")).await.status();
    endpoints(&router, Value::Null).await;
    for place in ["web", "http:web:80", "web:other"] {
        let expected = format!("503 ServiceUnavailable: no endpoints available for service \"{place}\"");
        assert_eq!(refused(place).await, expected);
    }
    let path = "/api/v1/namespaces/default/endpoints/web";
    let none = json!({ "apiVersion": "v1", "kind": "Endpoints", "metadata": { "name": "web" } });
    assert_eq!(send(&router, Method::PUT, path, &none).await.code, 200);
    // As upstream, which looks for no port then.
    assert_eq!(refused("http:web:80").await, "503 ServiceUnavailable: no endpoints available for service \"web\"");
    assert_eq!(refused("web:81").await, "503 ServiceUnavailable: no service port 81 found for service \"web\"");
    assert_eq!(
        refused("https:kubernetes:443").await,
        "503 ServiceUnavailable: no endpoints available for service \"https:kubernetes:443\""
    );
}
