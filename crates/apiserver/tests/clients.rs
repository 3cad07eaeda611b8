//! What kube-rs sees through the in-process router.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Namespace, Pod, Service},
    node::v1::RuntimeClass,
};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    core::WatchEvent,
    runtime::{WatchStreamExt, watcher},
};
use serde_json::json;
use support::{config_map, deployment, get, pod, server};

fn typed<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> T {
    serde_json::from_value(value).unwrap()
}

#[tokio::test]
async fn objects_live_and_die() {
    let server = server().await;
    let client = Client::new(server.in_process("test"), "default");
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let made = maps.create(&PostParams::default(), &typed(config_map("a", "1"))).await.unwrap();
    assert!(made.metadata.uid.is_some() && made.metadata.creation_timestamp.is_some());
    let mut changed = made.clone();
    changed.data.get_or_insert_default().insert("key".into(), "2".into());
    let written = maps.replace("a", &PostParams::default(), &changed).await.unwrap();
    assert_ne!(written.metadata.resource_version, made.metadata.resource_version);
    let lost = maps.replace("a", &PostParams::default(), &changed).await.unwrap_err();
    assert!(matches!(lost, kube::Error::Api(status) if status.reason == "Conflict"));
    let same = maps.replace("a", &PostParams::default(), &written).await.unwrap();
    assert_eq!(same.metadata.resource_version, written.metadata.resource_version, "nothing changed, nothing is written");
    let patch = json!({ "data": { "other": "3" } });
    let patched = maps.patch("a", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    assert_eq!(patched.data.unwrap()["key"], "2");
    let list = maps.list(&ListParams::default().limit(1)).await.unwrap();
    assert_eq!(list.items.len(), 1);
    maps.delete("a", &DeleteParams::default()).await.unwrap();
    assert!(maps.get_opt("a").await.unwrap().is_none());
}

#[tokio::test]
async fn a_deployment_has_generation_status_and_scale() {
    let server = server().await;
    let client = Client::new(server.in_process("test"), "default");
    let deployments: Api<Deployment> = Api::default_namespaced(client);
    let made = deployments.create(&PostParams::default(), &typed(deployment("web"))).await.unwrap();
    assert_eq!(made.metadata.generation, Some(1));
    let status = json!({ "status": { "replicas": 3, "observedGeneration": 1 } });
    let patched = deployments.patch_status("web", &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
    assert_eq!((patched.metadata.generation, patched.status.unwrap().replicas), (Some(1), Some(3)));
    let scale = json!({ "spec": { "replicas": 5 } });
    let scaled = deployments.patch_scale("web", &PatchParams::default(), &Patch::Merge(&scale)).await.unwrap();
    assert_eq!(scaled.spec.unwrap().replicas, Some(5));
    let now = deployments.get("web").await.unwrap();
    assert_eq!((now.metadata.generation, now.spec.unwrap().replicas), (Some(2), Some(5)));
    let image = json!({ "spec": { "template": { "spec": { "containers": [{ "name": "web", "image": "nginx:1.16.1" }] } } } });
    let patched = deployments.patch("web", &PatchParams::default(), &Patch::Strategic(&image)).await.unwrap();
    assert_eq!(patched.spec.unwrap().template.spec.unwrap().containers.len(), 1);
}

#[tokio::test]
async fn pods_are_admitted_bound_and_gracefully_deleted() {
    let server = server().await;
    let client = Client::new(server.in_process("test"), "default");
    let pods: Api<Pod> = Api::default_namespaced(client);
    let made = pods.create(&PostParams::default(), &typed(pod("a"))).await.unwrap();
    let spec = made.spec.unwrap();
    assert_eq!(spec.service_account_name.as_deref(), Some("default"));
    assert!(spec.volumes.unwrap()[0].name.starts_with("kube-api-access-"));
    assert_eq!(spec.tolerations.unwrap().len(), 2);
    let binding = json!({ "metadata": { "name": "a" }, "target": { "name": "node-1", "kind": "Node" } });
    let bind = http::Request::post("/api/v1/namespaces/default/pods/a/binding").body(binding.to_string().into_bytes()).unwrap();
    pods.clone().into_client().request::<serde_json::Value>(bind).await.unwrap();
    assert_eq!(pods.get("a").await.unwrap().spec.unwrap().node_name.as_deref(), Some("node-1"));
    let marked = pods.delete("a", &DeleteParams::default()).await.unwrap().left().unwrap();
    assert_eq!(marked.metadata.deletion_grace_period_seconds, Some(30));
    pods.delete("a", &DeleteParams::default().grace_period(0)).await.unwrap();
    assert!(pods.get_opt("a").await.unwrap().is_none());
}

#[tokio::test]
async fn services_get_addresses_and_ports() {
    let server = server().await;
    let client = Client::new(server.in_process("test"), "default");
    let services: Api<Service> = Api::default_namespaced(client);
    let service = |name: &str, ip: Option<&str>, port: Option<u16>| -> Service {
        let mut spec = json!({ "type": "NodePort", "selector": { "a": "b" }, "ports": [{ "port": 80 }] });
        if let Some(ip) = ip {
            spec["clusterIP"] = ip.into();
        }
        if let Some(port) = port {
            spec["ports"][0]["nodePort"] = port.into();
        }
        typed(json!({ "metadata": { "name": name }, "spec": spec }))
    };
    let made = services.create(&PostParams::default(), &service("a", Some("10.96.0.10"), Some(30080))).await.unwrap();
    let spec = made.spec.unwrap();
    assert_eq!(spec.cluster_ips, Some(vec!["10.96.0.10".to_owned()]));
    assert_eq!(spec.ip_families, Some(vec!["IPv4".to_owned()]));
    let message = |error: kube::Error| match error {
        kube::Error::Api(status) => status.message.clone(),
        other => panic!("{other}"),
    };
    let taken = services.create(&PostParams::default(), &service("b", Some("10.96.0.10"), None)).await.unwrap_err();
    assert_eq!(
        message(taken),
        "Service \"b\" is invalid: spec.clusterIPs: Invalid value: [\"10.96.0.10\"]: failed to allocate IP 10.96.0.10: provided \
         IP is already allocated"
    );
    let taken = services.create(&PostParams::default(), &service("b", None, Some(30080))).await.unwrap_err();
    assert_eq!(
        message(taken),
        "Service \"b\" is invalid: spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated"
    );
    services.delete("a", &DeleteParams::default()).await.unwrap();
    services.create(&PostParams::default(), &service("b", Some("10.96.0.10"), Some(30080))).await.unwrap();
}

#[tokio::test]
async fn a_namespace_terminates_until_it_is_finalized() {
    let server = server().await;
    let client = Client::new(server.in_process("test"), "default");
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces.create(&PostParams::default(), &typed(json!({ "metadata": { "name": "n" } }))).await.unwrap();
    namespaces.delete("n", &DeleteParams::default()).await.unwrap();
    let mut namespace = namespaces.get("n").await.unwrap();
    assert_eq!(namespace.status.as_ref().unwrap().phase.as_deref(), Some("Terminating"));
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "n");
    let refused = maps.create(&PostParams::default(), &typed(config_map("a", "1"))).await.unwrap_err();
    assert!(refused.to_string().contains("because it is being terminated"), "{refused}");
    namespace.spec.as_mut().unwrap().finalizers = None;
    namespace.metadata.resource_version = None;
    let finalize = http::Request::put("/api/v1/namespaces/n/finalize").body(serde_json::to_vec(&namespace).unwrap()).unwrap();
    client.request::<serde_json::Value>(finalize).await.unwrap();
    assert!(namespaces.get_opt("n").await.unwrap().is_none());
    let missing = maps.create(&PostParams::default(), &typed(config_map("a", "1"))).await.unwrap_err();
    assert!(matches!(missing, kube::Error::Api(status) if status.message == "namespaces \"n\" not found"));
}

#[tokio::test]
async fn watches_see_objects_come_change_and_leave_a_selector() {
    let server = server().await;
    let client = Client::new(server.in_process("test"), "default");
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    let mut labelled = config_map("a", "1");
    labelled["metadata"]["labels"] = json!({ "on": "true" });
    let mut events = maps.watch(&kube::api::WatchParams::default().labels("on=true"), "0").await.unwrap().boxed();
    maps.create(&PostParams::default(), &typed(labelled)).await.unwrap();
    maps.create(&PostParams::default(), &typed(config_map("b", "1"))).await.unwrap();
    let off = json!({ "metadata": { "labels": { "on": "false" } } });
    let on = json!({ "metadata": { "labels": { "on": "true" } } });
    maps.patch("a", &PatchParams::default(), &Patch::Merge(&off)).await.unwrap();
    maps.patch("b", &PatchParams::default(), &Patch::Merge(&on)).await.unwrap();
    maps.delete("b", &DeleteParams::default()).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 4 {
        seen.push(match events.try_next().await.unwrap().unwrap() {
            WatchEvent::Added(map) => format!("+{}", map.metadata.name.unwrap()),
            WatchEvent::Modified(map) => format!("~{}", map.metadata.name.unwrap()),
            WatchEvent::Deleted(map) => format!("-{}", map.metadata.name.unwrap()),
            other => format!("{other:?}"),
        });
    }
    assert_eq!(seen, ["+a", "-a", "+b", "-b"]);
}

#[tokio::test]
async fn streaming_lists_begin_a_watch() {
    let server = server().await;
    let client = Client::new(server.in_process("test"), "default");
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    maps.create(&PostParams::default(), &typed(config_map("a", "1"))).await.unwrap();
    for config in [watcher::Config::default(), watcher::Config::default().streaming_lists()] {
        let stream = watcher(maps.clone(), config.fields("metadata.name=a")).applied_objects();
        let first = Box::pin(stream).try_next().await.unwrap().unwrap();
        assert_eq!(first.metadata.name.as_deref(), Some("a"));
    }
}

/// As upstream's conformance test of these operations.
#[tokio::test]
async fn runtime_classes_are_read_and_written() {
    let server = server().await;
    let router = server.in_process("test");
    let groups = get(&router, "/apis").await.body["groups"].clone();
    let group = groups.as_array().unwrap().iter().find(|group| group["name"] == "node.k8s.io").unwrap();
    assert_eq!(group["versions"][0]["version"], "v1");
    assert_eq!(get(&router, "/apis/node.k8s.io").await.body["preferredVersion"]["groupVersion"], "node.k8s.io/v1");
    let resource = &get(&router, "/apis/node.k8s.io/v1").await.body["resources"][0];
    assert_eq!((&resource["name"], &resource["kind"]), (&json!("runtimeclasses"), &json!("RuntimeClass")));
    assert_eq!((&resource["namespaced"], &resource["singularName"]), (&json!(false), &json!("runtimeclass")));

    let classes: Api<RuntimeClass> = Api::all(Client::new(router, "default"));
    let class = |name: &str| -> RuntimeClass {
        typed(json!({ "metadata": { "name": name, "labels": { "test": "yes" } }, "handler": format!("{name}-handler") }))
    };
    let create = async |name: &str| classes.create(&PostParams::default(), &class(name)).await;
    let made = create("a").await.unwrap();
    assert_eq!((made.handler.as_str(), made.metadata.generation), ("a-handler", None));
    assert!(matches!(create("a").await.unwrap_err(), kube::Error::Api(status) if status.code == 409));
    create("b").await.unwrap();
    let ours = ListParams::default().labels("test=yes");
    let mut events = classes.watch(&kube::api::WatchParams::default().labels("test=yes"), "").await.unwrap().boxed();
    create("c").await.unwrap();
    assert_eq!(classes.get("a").await.unwrap().metadata.uid, made.metadata.uid);
    assert_eq!(classes.list(&ours).await.unwrap().items.len(), 3);
    let patch = json!({ "metadata": { "annotations": { "patched": "true" } } });
    let mut changed = classes.patch("a", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    changed.metadata.annotations.get_or_insert_default().insert("updated".into(), "true".into());
    let changed = classes.replace("a", &PostParams::default(), &changed).await.unwrap();
    assert_eq!(changed.metadata.annotations.as_ref().unwrap()["updated"], "true");
    let mut seen = Vec::new();
    while seen.len() < 5 {
        seen.push(match events.try_next().await.unwrap().unwrap() {
            WatchEvent::Added(class) => format!("+{}", class.metadata.name.unwrap()),
            WatchEvent::Modified(class) => format!("~{}", class.metadata.name.unwrap()),
            other => format!("{other:?}"),
        });
    }
    assert_eq!(seen, ["+a", "+b", "+c", "~a", "~a"]);

    let mut moved = changed.clone();
    moved.handler = "other".into();
    let refused = classes.replace("a", &PostParams::default(), &moved).await.unwrap_err();
    let why = "RuntimeClass.node.k8s.io \"a\" is invalid: handler: Invalid value: \"other\": field is immutable";
    assert!(matches!(refused, kube::Error::Api(status) if status.code == 422 && status.message == why));

    classes.delete("a", &DeleteParams::default()).await.unwrap();
    assert!(classes.get_opt("a").await.unwrap().is_none());
    assert_eq!(classes.list(&ours).await.unwrap().items.len(), 2);
    classes.delete_collection(&DeleteParams::default(), &ours).await.unwrap();
    assert!(classes.list(&ours).await.unwrap().items.is_empty());
}
