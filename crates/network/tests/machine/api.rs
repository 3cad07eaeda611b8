//! As much of an API server as the network talks to: lists, watches, creations and patches of status, in memory.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Path, Query, State},
    response::{IntoResponse, Response},
    routing::{get, patch, post},
};
use futures::StreamExt;
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::watch;

#[derive(Clone, Default)]
pub(crate) struct Api {
    state: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    log: Mutex<Log>,
    /// How many events there are.
    length: watch::Sender<usize>,
}

#[derive(Default)]
struct Log {
    /// Plural, and the event.
    events: Vec<(String, Value)>,
    /// By plural, namespace and name.
    objects: BTreeMap<(String, String, String), Value>,
}

impl Api {
    pub(crate) fn client(&self) -> Client {
        let router = Router::new()
            .route("/api/v1/{plural}", get(list))
            .route("/apis/{group}/v1/{plural}", get(list))
            .route("/api/v1/namespaces/{namespace}/{plural}", post(create))
            .route("/apis/{group}/v1/namespaces/{namespace}/{plural}", post(create))
            .route("/api/v1/namespaces/{namespace}/{plural}/{name}", get(get_one))
            .route("/api/v1/namespaces/{namespace}/{plural}/{name}/status", patch(patch_status))
            .with_state(self.clone());
        Client::new(router, "default")
    }

    /// Writes an object, new or changed.
    pub(crate) fn put(&self, plural: &str, mut object: Value) {
        let mut log = self.state.log.lock().unwrap();
        object["metadata"]["resourceVersion"] = json!((log.events.len() + 1).to_string());
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        let key = (plural.to_owned(), text("namespace"), text("name"));
        let kind = if log.objects.contains_key(&key) { "MODIFIED" } else { "ADDED" };
        log.objects.insert(key, object.clone());
        log.events.push((plural.to_owned(), json!({ "type": kind, "object": object })));
        self.state.length.send_replace(log.events.len());
    }

    pub(crate) fn get(&self, plural: &str, namespace: &str, name: &str) -> Option<Value> {
        let key = (plural.to_owned(), namespace.to_owned(), name.to_owned());
        self.state.log.lock().unwrap().objects.get(&key).cloned()
    }

    pub(crate) fn all(&self, plural: &str) -> Vec<Value> {
        let log = self.state.log.lock().unwrap();
        log.objects.iter().filter(|((found, ..), _)| found == plural).map(|(_, object)| object.clone()).collect()
    }

    /// Waits until `found` finds what it looks for.
    pub(crate) async fn until<T>(&self, mut found: impl FnMut(&Self) -> Option<T>) -> T {
        let mut length = self.state.length.subscribe();
        loop {
            length.borrow_and_update();
            if let Some(found) = found(self) {
                return found;
            }
            length.changed().await.unwrap();
        }
    }
}

async fn list(
    State(api): State<Api>,
    Path(path): Path<BTreeMap<String, String>>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let plural = path["plural"].clone();
    if query.get("watch").is_some_and(|watch| watch == "true") {
        let from = query.get("resourceVersion").and_then(|version| version.parse().ok()).unwrap_or(0_usize);
        return Body::from_stream(watch_events(api, plural, from)).into_response();
    }
    let items = api.all(&plural);
    let version = api.state.log.lock().unwrap().events.len().to_string();
    Json(json!({ "kind": "List", "apiVersion": "v1", "metadata": { "resourceVersion": version }, "items": items }))
        .into_response()
}

fn watch_events(api: Api, plural: String, from: usize) -> impl futures::Stream<Item = Result<Bytes, std::io::Error>> {
    let length = api.state.length.subscribe();
    futures::stream::unfold((api, plural, from, length), |(api, plural, mut next, mut length)| async move {
        loop {
            length.borrow_and_update();
            let event = api.state.log.lock().unwrap().events.get(next).cloned();
            match event {
                Some((found, event)) => {
                    next += 1;
                    if found == plural {
                        return Some((Ok(Bytes::from(format!("{event}\n"))), (api, plural, next, length)));
                    }
                }
                None => length.changed().await.ok()?,
            }
        }
    })
    .boxed()
}

async fn create(
    State(api): State<Api>,
    Path(path): Path<BTreeMap<String, String>>,
    Json(mut object): Json<Value>,
) -> Json<Value> {
    object["metadata"]["namespace"] = json!(path["namespace"]);
    api.put(&path["plural"], object.clone());
    Json(object)
}

async fn get_one(State(api): State<Api>, Path(path): Path<BTreeMap<String, String>>) -> Json<Value> {
    Json(api.get(&path["plural"], &path["namespace"], &path["name"]).unwrap())
}

/// Merges the status; lists of conditions are replaced.
async fn patch_status(
    State(api): State<Api>,
    Path(path): Path<BTreeMap<String, String>>,
    Json(patch): Json<Value>,
) -> Json<Value> {
    let mut object = api.get(&path["plural"], &path["namespace"], &path["name"]).unwrap();
    for (field, value) in patch["status"].as_object().unwrap() {
        object["status"][field] = value.clone();
    }
    api.put(&path["plural"], object.clone());
    Json(object)
}
