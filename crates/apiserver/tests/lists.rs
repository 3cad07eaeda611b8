//! Lists and watches at revisions: pages, what has been compacted, what has not come yet.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use axum::{Router, body::Body};
use expect_test::expect;
use http::{Method, Request};
use http_body_util::BodyExt;
use serde_json::Value;
use support::{TOKEN, config_map, get, send};
use tower::ServiceExt;
use windlass_apiserver::{ApiServer, Options, pki::Pki};
use windlass_storage::{Memory, Store};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn world(names: &[&str]) -> (Arc<Memory>, Router) {
    let store = Arc::new(Memory::new());
    let options = Options::new(TOKEN, Pki::generate(&[]).unwrap());
    let server = ApiServer::new(Arc::clone(&store) as Arc<dyn Store>, options).await.unwrap();
    let router = server.in_process("test");
    for name in names {
        send(&router, Method::POST, MAPS, &config_map(name, "1")).await;
    }
    (store, router)
}

/// Writes once more, so that there is something to forget, and forgets what came before.
async fn forget(store: &Memory, router: &Router) {
    send(router, Method::POST, "/api/v1/namespaces/kube-system/configmaps", &config_map("more", "1")).await;
    store.compact(store.revision().await.unwrap()).await.unwrap();
}

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().into_iter().flatten().filter_map(|item| item["metadata"]["name"].as_str()).collect()
}

/// The first so many lines of a watch.
async fn watch(router: &Router, path: &str, lines: usize) -> Vec<Value> {
    let response = router.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
    let mut body = response.into_body();
    let mut text = String::new();
    while text.lines().count() < lines {
        let Some(frame) = body.frame().await else { break };
        text.push_str(std::str::from_utf8(frame.unwrap().data_ref().unwrap()).unwrap());
    }
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn pages_are_of_one_revision() {
    let (_, router) = world(&["a", "b", "c"]).await;
    let first = get(&router, &format!("{MAPS}?limit=2")).await.body;
    assert_eq!(names(&first), ["a", "b"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 1);
    send(&router, Method::POST, MAPS, &config_map("d", "1")).await;
    let token = first["metadata"]["continue"].as_str().unwrap();
    let second = get(&router, &format!("{MAPS}?limit=2&continue={token}")).await.body;
    assert_eq!(names(&second), ["c"], "what was made since is not part of the list");
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let bad = get(&router, &format!("{MAPS}?continue=nonsense")).await;
    assert_eq!((bad.code, bad.body["reason"].as_str()), (400, Some("BadRequest")));
}

#[tokio::test]
async fn a_page_that_is_too_old_says_how_to_go_on() {
    let (store, router) = world(&["a", "b", "c"]).await;
    let first = get(&router, &format!("{MAPS}?limit=1")).await.body;
    send(&router, Method::POST, MAPS, &config_map("d", "1")).await;
    forget(&store, &router).await;
    let token = first["metadata"]["continue"].as_str().unwrap();
    let expired = get(&router, &format!("{MAPS}?limit=2&continue={token}")).await;
    assert_eq!((expired.code, expired.body["reason"].as_str()), (410, Some("Expired")));
    let token = expired.body["metadata"]["continue"].as_str().unwrap();
    let rest = get(&router, &format!("{MAPS}?continue={token}")).await.body;
    assert_eq!(names(&rest), ["b", "c", "d"]);
}

#[tokio::test]
async fn lists_at_a_revision() {
    let (store, router) = world(&["a"]).await;
    let then = store.revision().await.unwrap();
    send(&router, Method::POST, MAPS, &config_map("b", "1")).await;
    let exact = get(&router, &format!("{MAPS}?resourceVersion={then}&resourceVersionMatch=Exact")).await.body;
    assert_eq!(names(&exact), ["a"]);
    let newer = get(&router, &format!("{MAPS}?resourceVersion={then}&resourceVersionMatch=NotOlderThan")).await.body;
    assert_eq!(names(&newer), ["a", "b"]);
    let future = get(&router, &format!("{MAPS}?resourceVersion=999999")).await;
    assert_eq!((future.code, future.body["details"]["causes"][0]["reason"].as_str()), (504, Some("ResourceVersionTooLarge")));
    expect![[r#"422 Invalid: ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"#]]
        .assert_eq(&get(&router, &format!("{MAPS}?resourceVersionMatch=Exact")).await.status());
    forget(&store, &router).await;
    expect!["410 Expired: The resourceVersion for the provided list is too old."]
        .assert_eq(&get(&router, &format!("{MAPS}?resourceVersion={then}&resourceVersionMatch=Exact")).await.status());
}

#[tokio::test]
async fn a_watch_from_a_compacted_revision_is_an_error_event() {
    let (store, router) = world(&["a", "b"]).await;
    let newest = store.revision().await.unwrap();
    store.compact(newest).await.unwrap();
    let events = watch(&router, &format!("{MAPS}?watch=1&resourceVersion=2"), 1).await;
    assert_eq!((events[0]["type"].as_str(), events[0]["object"]["code"].as_u64()), (Some("ERROR"), Some(410)));
    let message = events[0]["object"]["message"].as_str().unwrap();
    assert!(message.starts_with("too old resource version: 2 ("), "{message}");
}

#[tokio::test]
async fn initial_events_end_with_a_bookmark() {
    let (_, router) = world(&["a", "b"]).await;
    let path = format!("{MAPS}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true");
    let events = watch(&router, &path, 3).await;
    let types: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["ADDED", "ADDED", "BOOKMARK"]);
    assert_eq!(events[2]["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    expect![[r#"422 Invalid: ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"#]]
        .assert_eq(&get(&router, &format!("{MAPS}?watch=1&sendInitialEvents=true")).await.status());
}

#[tokio::test]
async fn events_carry_the_revision_of_the_change() {
    let (store, router) = world(&["a"]).await;
    let from = store.revision().await.unwrap();
    send(&router, Method::PUT, &format!("{MAPS}/a"), &config_map("a", "2")).await;
    support::delete(&router, &format!("{MAPS}/a")).await;
    let events = watch(&router, &format!("{MAPS}?watch=1&resourceVersion={from}"), 2).await;
    let seen: Vec<_> = events
        .iter()
        .map(|event| {
            (event["type"].as_str().unwrap(), event["object"]["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap())
        })
        .collect();
    assert_eq!(seen, [("MODIFIED", from + 1), ("DELETED", from + 2)]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_when_its_time_is_up() {
    let (_, router) = world(&[]).await;
    let path = format!("{MAPS}?watch=1&timeoutSeconds=90&allowWatchBookmarks=true");
    let events = watch(&router, &path, usize::MAX).await;
    let types: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["BOOKMARK", "BOOKMARK"], "one after a minute, and one at the end");
}

#[tokio::test]
async fn a_streamed_list_has_no_columns() {
    let (_, router) = world(&["a"]).await;
    let path = format!(
        "{MAPS}?watch=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=1"
    );
    let ask = |accept: &'static str| {
        let request = Request::get(&path).header("accept", accept).body(Body::empty()).unwrap();
        let router = router.clone();
        async move { router.oneshot(request).await.unwrap().status().as_u16() }
    };
    assert_eq!(ask("application/json;as=Table;v=v1;g=meta.k8s.io").await, 406);
    assert_eq!(ask("application/json;as=Table;v=v1;g=meta.k8s.io,application/json").await, 200);
}

#[tokio::test]
async fn a_table_watch_describes_its_columns_once() {
    let (_, router) = world(&["a", "b"]).await;
    let request = Request::get(format!("{MAPS}?watch=1")).header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
    let response = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let frame = response.into_body().frame().await.unwrap().unwrap().into_data().unwrap();
    let events: Vec<Value> = frame.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    assert!(events[0]["object"]["columnDefinitions"].is_array());
    assert!(events[1]["object"]["columnDefinitions"].is_null());
    assert_eq!(events[1]["object"]["rows"][0]["cells"][0], "b");
}
