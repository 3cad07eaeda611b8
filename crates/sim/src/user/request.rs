//! The requests of a user, word for word as kubectl makes them.

use http::{Method, Request};
use kube::Client;
use serde_json::{Value, json};

/// Content types of a patch.
pub(crate) const MERGE: &str = "application/merge-patch+json";
pub(crate) const JSON_PATCH: &str = "application/json-patch+json";

/// Sends requests.
#[derive(Clone)]
pub(crate) struct Requests {
    client: Client,
}

impl std::fmt::Debug for Requests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Requests")
    }
}

impl Requests {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Sends a request; a refusal is answered with its words.
    async fn send(&self, method: Method, path: &str, content_type: &str, body: Vec<u8>) -> Result<Value, String> {
        let request = Request::builder().method(method).uri(path).header("content-type", content_type).body(body);
        let request = request.map_err(|error| error.to_string())?;
        self.client.request::<Value>(request).await.map_err(|error| error.to_string())
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value, String> {
        self.send(Method::GET, path, "application/json", Vec::new()).await
    }

    pub(crate) async fn create(&self, path: &str, object: &Value) -> Result<Value, String> {
        self.send(Method::POST, path, "application/json", object.to_string().into_bytes()).await
    }

    pub(crate) async fn patch(&self, path: &str, content_type: &str, change: &Value) -> Result<Value, String> {
        self.send(Method::PATCH, path, content_type, change.to_string().into_bytes()).await
    }

    pub(crate) async fn delete(&self, path: &str, propagation: &str) -> Result<Value, String> {
        let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation});
        self.send(Method::DELETE, path, "application/json", options.to_string().into_bytes()).await
    }
}
