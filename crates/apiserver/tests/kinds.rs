//! What the table of kinds says, seen from outside: events in two shapes, and kinds that are on their way out.

mod support;

use axum::body::Body;
use http::{Method, Request};
use serde_json::{Value, json};
use support::{delete, get, request, send, send_as, server};

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().into_iter().flatten().filter_map(|item| item["metadata"]["name"].as_str()).collect()
}

#[tokio::test]
async fn an_event_has_two_shapes_and_one_life() {
    const CORE: &str = "/api/v1/namespaces/default/events";
    const NEWER: &str = "/apis/events.k8s.io/v1/namespaces/default/events";
    let server = server().await;
    let router = server.in_process("test");
    let event = json!({
        "metadata": { "name": "old", "namespace": "default" }, "reason": "Because", "message": "hello", "type": "Normal",
        "involvedObject": { "kind": "Pod", "name": "web", "namespace": "default" }, "source": { "component": "me" },
    });
    assert_eq!(send(&router, Method::POST, CORE, &event).await.code, 201);
    let event = json!({
        "metadata": { "name": "new", "namespace": "default" }, "reason": "Because", "note": "hello", "type": "Normal",
        "regarding": { "kind": "Pod", "name": "web", "namespace": "default" }, "action": "Acting",
        "reportingController": "example.com/me", "reportingInstance": "one", "eventTime": "2024-01-01T00:00:00.000000Z",
    });
    assert_eq!(send(&router, Method::POST, NEWER, &event).await.code, 201);

    let read = async |path: String| get(&router, &path).await.body;
    // Each group's fields select what was made in the other, whichever was asked first.
    assert_eq!(names(&read(format!("{NEWER}?fieldSelector=regarding.name=web")).await), ["new", "old"]);
    assert_eq!(names(&read(format!("{CORE}?fieldSelector=source=me")).await), ["old"]);
    assert_eq!(names(&read(format!("{CORE}?fieldSelector=source=example.com/me")).await), ["new"]);
    assert_eq!(names(&read(format!("{NEWER}?fieldSelector=reportingController=example.com/me")).await), ["new"]);
    assert_eq!(read(format!("{NEWER}/old")).await["note"], "hello");
    assert_eq!(read(format!("{CORE}/new")).await["involvedObject"]["name"], "web");
    assert_eq!(delete(&router, &format!("{NEWER}/old")).await.code, 200);
    assert_eq!(names(&read(CORE.to_owned()).await), ["new"]);
}

#[tokio::test]
async fn endpoints_are_deprecated_for_readers_too() {
    let server = server().await;
    let answer = get(&server.in_process("test"), "/api/v1/namespaces/default/endpoints").await;
    assert_eq!(answer.code, 200);
    assert_eq!(
        answer.headers.get("warning").unwrap(),
        "299 - \"v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice\""
    );
}

#[tokio::test]
async fn there_are_no_definitions_of_kinds() {
    const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let server = server().await;
    let router = server.in_process("test");
    let none = get(&router, DEFINITIONS).await;
    assert_eq!((none.code, &none.body["kind"], &none.body["items"]), (200, &json!("CustomResourceDefinitionList"), &json!([])));
    assert_eq!(get(&router, &format!("{DEFINITIONS}/x")).await.code, 404);
    assert_eq!(send(&router, Method::POST, DEFINITIONS, &json!({})).await.code, 405);
    assert_eq!(get(&server.router(), DEFINITIONS).await.code, 401, "nobody may list them unknown");
}

#[tokio::test]
async fn components_are_looked_at_when_somebody_asks() {
    const STATUSES: &str = "/api/v1/componentstatuses";
    let router = server().await.in_process("test");
    let all = get(&router, STATUSES).await;
    assert_eq!((all.code, names(&all.body)), (200, vec!["controller-manager", "etcd-0", "scheduler"]), "{}", all.body);
    assert_eq!(all.headers.get("warning").unwrap(), "299 - \"v1 ComponentStatus is deprecated in v1.19+\"");
    let store = get(&router, &format!("{STATUSES}/etcd-0")).await.body;
    assert_eq!(store["conditions"], json!([{ "type": "Healthy", "status": "True", "message": "ok" }]));
    // No controllers run here.
    let scheduler = get(&router, &format!("{STATUSES}?fieldSelector=metadata.name=scheduler")).await.body;
    assert_eq!((names(&scheduler), &scheduler["items"][0]["conditions"][0]["status"]), (vec!["scheduler"], &json!("False")));
    let table = Request::builder().uri(STATUSES).header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
    let table = request(&router, table.body(Body::empty()).unwrap()).await.body;
    assert_eq!(table["rows"][1]["cells"], json!(["etcd-0", "Healthy", "ok", ""]), "{table}");
    assert_eq!(table["rows"][2]["cells"], json!(["scheduler", "Unhealthy", "", "scheduler is not running"]));
    assert_eq!(get(&router, &format!("{STATUSES}/nope")).await.status(), "500 : Component not found: nope");
    assert_eq!(delete(&router, &format!("{STATUSES}/etcd-0")).await.code, 405);
}

#[tokio::test]
async fn a_part_of_this_process_writes_under_its_programs_name() {
    let server = server().await;
    let manager = async |router: axum::Router, name: &str| {
        let map = json!({ "metadata": { "name": name }, "data": { "a": "1" } });
        let made = send(&router, Method::POST, "/api/v1/namespaces/default/configmaps", &map).await.body;
        made["metadata"]["managedFields"][0]["manager"].clone()
    };
    assert_eq!(manager(server.in_process_as("system:node:a", "kubelet"), "a").await, "kubelet");
    assert_eq!(manager(server.in_process("test"), "b").await, "unknown");
}

#[tokio::test]
async fn the_range_of_services_is_an_object() {
    const RANGES: &str = "/apis/networking.k8s.io/v1/servicecidrs";
    let server = server().await;
    let router = server.in_process("test");
    let range = get(&router, &format!("{RANGES}/kubernetes")).await.body;
    assert_eq!(range["spec"], json!({ "cidrs": ["10.96.0.0/16"] }));
    let ready = &range["status"]["conditions"][0];
    assert_eq!((&ready["type"], &ready["status"], &ready["reason"]), (&json!("Ready"), &json!("True"), &json!("")));
    assert_eq!(ready["message"], "Kubernetes default Service CIDR is ready");
    assert_eq!(range["metadata"].get("generation"), None);
    assert_eq!(get(&router, &format!("{RANGES}/kubernetes/status")).await.body, range);
    assert_eq!(names(&get(&router, RANGES).await.body), ["kubernetes"]);
}

#[tokio::test]
async fn an_address_is_an_object() {
    const ADDRESSES: &str = "/apis/networking.k8s.io/v1/ipaddresses";
    let server = server().await;
    let router = server.in_process("test");
    let parent = json!({ "group": "mygroup", "resource": "myresources", "namespace": "foo", "name": "bar" });
    for (name, kind) in [("255.255.255.255", "broadcast"), ("fe80::42:1dff:fe84:f9e2", "link-local")] {
        let address = json!({ "metadata": { "name": name, "labels": { "type": kind } }, "spec": { "parentRef": parent } });
        let made = send(&router, Method::POST, ADDRESSES, &address).await;
        assert_eq!((made.code, made.body["metadata"].get("generation")), (201, None), "{}", made.body);
    }
    let path = format!("{ADDRESSES}/fe80::42:1dff:fe84:f9e2");
    let patch = json!({ "metadata": { "annotations": { "patched": "true" } } });
    let patched = send_as(&router, Method::PATCH, &path, "application/merge-patch+json", patch.to_string()).await;
    assert_eq!(patched.body["metadata"]["annotations"]["patched"], "true", "{}", patched.body);
    let mut moved = patched.body;
    moved["spec"]["parentRef"]["name"] = "baz".into();
    assert_eq!(
        send(&router, Method::PUT, &path, &moved).await.status(),
        "422 Invalid: IPAddress.networking.k8s.io \"fe80::42:1dff:fe84:f9e2\" is invalid: spec.parentRef: Invalid value: \
         {\"Group\":\"mygroup\",\"Resource\":\"myresources\",\"Namespace\":\"foo\",\"Name\":\"baz\"}: field is immutable"
    );
    let by_label = format!("{ADDRESSES}?labelSelector=type%3Dlink-local");
    assert_eq!(names(&get(&router, &by_label).await.body), ["fe80::42:1dff:fe84:f9e2"]);
    let all = Request::builder().method(Method::DELETE).uri(&by_label).body(Body::empty()).unwrap();
    assert_eq!(request(&router, all).await.code, 200);
    assert_eq!(names(&get(&router, ADDRESSES).await.body), ["255.255.255.255"]);
    assert_eq!(delete(&router, &format!("{ADDRESSES}/255.255.255.255")).await.code, 200);
}
