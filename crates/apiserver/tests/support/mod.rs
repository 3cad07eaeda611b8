//! A server over a store in memory, and raw requests to it.

#![allow(dead_code, reason = "each test crate uses a part of it")]
#![allow(clippy::unwrap_used, reason = "what fails here fails the test that called it")]

use std::sync::Arc;

use axum::{Router, body::Body};
use http::{Method, Request, header::CONTENT_TYPE};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;
use windlass_apiserver::{ApiServer, Options, pki::Pki};
use windlass_storage::Memory;

pub(crate) const TOKEN: &str = "admin-token";

/// A server with the objects that every cluster has, and the `default` account that a controller would make.
pub(crate) async fn server() -> ApiServer {
    let pki = Pki::generate(&["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let server = ApiServer::new(Arc::new(Memory::new()), Options::new(TOKEN, pki)).await.unwrap();
    let account = json!({ "metadata": { "name": "default" } });
    let made = send(&server.in_process("test"), Method::POST, "/api/v1/namespaces/default/serviceaccounts", &account).await;
    assert_eq!(made.code, 201, "{}", made.body);
    server
}

/// An answer, its body decoded where it is JSON.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    /// Code, reason and message of a Status.
    pub(crate) fn status(&self) -> String {
        let text = |key: &str| self.body[key].as_str().unwrap_or_default();
        format!("{} {}: {}", self.code, text("reason"), text("message"))
    }
}

pub(crate) async fn request(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
    Answer { code: parts.status.as_u16(), headers: parts.headers, body }
}

pub(crate) async fn send(router: &Router, method: Method, path: &str, body: &Value) -> Answer {
    send_as(router, method, path, "application/json", body.to_string()).await
}

pub(crate) async fn send_as(router: &Router, method: Method, path: &str, media: &str, body: impl Into<Body>) -> Answer {
    let built = Request::builder().method(method).uri(path).header(CONTENT_TYPE, media).body(body.into()).unwrap();
    request(router, built).await
}

pub(crate) async fn get(router: &Router, path: &str) -> Answer {
    request(router, Request::builder().uri(path).body(Body::empty()).unwrap()).await
}

pub(crate) async fn delete(router: &Router, path: &str) -> Answer {
    request(router, Request::builder().method(Method::DELETE).uri(path).body(Body::empty()).unwrap()).await
}

pub(crate) fn config_map(name: &str, value: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "key": value } })
}

pub(crate) fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name, "labels": { "app": name } },
        "spec": {
            "replicas": 3, "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "containers": [{ "name": "web", "image": "nginx:1.14.2" }] },
            },
        },
    })
}

pub(crate) fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "labels": { "app": name } },
        "spec": { "containers": [{ "name": "web", "image": "nginx:1.14.2" }] },
    })
}
