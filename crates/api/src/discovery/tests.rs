//! The documents, by the parts that clients read.

use super::*;
use crate::kind::core;

fn find<'a>(resources: &'a Value, key: &str, name: &str) -> &'a Value {
    resources.as_array().unwrap().iter().find(|resource| resource[key] == name).unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn hashes_are_those_of_upstream() {
    for (kind, hash) in [(&core::POD, "xPOwRZ+Yhw8="), (&core::CONFIG_MAP, "qFsyl6wFWjQ="), (&core::NAMESPACE, "Q3oi5N2YM8M=")] {
        assert_eq!(storage_version_hash(kind), hash, "{}", kind.kind);
    }
    assert_eq!(storage_version_hash(&crate::kind::events::EVENT), storage_version_hash(&core::EVENT));
}

fn resources(group: &str, version: &str) -> Value {
    serde_json::to_value(api_resource_list(group, version).unwrap()).unwrap()
}

#[test]
fn a_resource_can_be_found_in_the_text() {
    let text = serde_json::to_string(&api_resource_list("", "v1").unwrap()).unwrap();
    let nodes = concat!(
        r#"{"name":"nodes","singularName":"node","namespaced":false,"kind":"Node","#,
        r#""verbs":["create","delete","deletecollection","get","list","patch","update","watch"],"shortNames":["no"],"#,
        r#""storageVersionHash":"XwShjMxG9Fs="}"#,
    );
    assert!(text.contains(nodes), "{text}");
    assert!(text.starts_with(r#"{"kind":"APIResourceList","groupVersion":"v1","resources":[{"name":"bindings","#), "{text}");
}

#[test]
fn core_version() {
    let list = resources("", "v1");
    assert_eq!((&list["kind"], &list["groupVersion"], list.get("apiVersion")), (&json!("APIResourceList"), &json!("v1"), None));
    assert_eq!(
        *find(&list["resources"], "name", "pods"),
        json!({
            "name": "pods", "singularName": "pod", "namespaced": true, "kind": "Pod", "shortNames": ["po"], "categories": ["all"],
            "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
            "storageVersionHash": "xPOwRZ+Yhw8=",
        })
    );
    assert_eq!(
        *find(&list["resources"], "name", "pods/eviction"),
        json!({
            "name": "pods/eviction", "singularName": "", "namespaced": true, "group": "policy", "version": "v1",
            "kind": "Eviction", "verbs": ["create"],
        })
    );
    assert_eq!(find(&list["resources"], "name", "pods/log")["kind"], "Pod");
    assert_eq!(find(&list["resources"], "name", "bindings")["verbs"], json!(["create"]));
    assert!(api_resource_list("", "v2").is_none());
    assert!(api_resource_list("nothing", "v1").is_none());
}

#[test]
fn a_group() {
    let version = json!({ "groupVersion": "apps/v1", "version": "v1" });
    let group = json!({ "name": "apps", "versions": [version], "preferredVersion": version });
    assert_eq!(*find(&api_group_list()["groups"], "name", "apps"), group);
    let alone = api_group("apps").unwrap();
    assert_eq!((&alone["kind"], &alone["name"], &alone["preferredVersion"]), (&json!("APIGroup"), &json!("apps"), &version));
    assert_eq!((api_group(""), api_group("nothing")), (None, None));
    let list = resources("apps", "v1");
    assert_eq!(list["apiVersion"], "v1");
    assert_eq!(
        *find(&list["resources"], "name", "deployments/scale"),
        json!({
            "name": "deployments/scale", "singularName": "", "namespaced": true, "group": "autoscaling", "version": "v1",
            "kind": "Scale", "verbs": ["get", "patch", "update"],
        })
    );
}

#[test]
fn all_at_once() {
    let core = aggregated_core("v2");
    assert_eq!(core["apiVersion"], "apidiscovery.k8s.io/v2");
    assert_eq!(core["items"][0]["metadata"].get("name"), None);
    let version = &core["items"][0]["versions"][0];
    assert_eq!((&version["version"], &version["freshness"]), (&json!("v1"), &json!("Current")));
    let namespaces = find(&version["resources"], "resource", "namespaces");
    assert_eq!(
        *namespaces,
        json!({
            "resource": "namespaces", "singularResource": "namespace", "scope": "Cluster", "shortNames": ["ns"],
            "responseKind": { "group": "", "version": "v1", "kind": "Namespace" },
            "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"],
            "subresources": [
                { "subresource": "finalize", "responseKind": { "group": "", "version": "v1", "kind": "Namespace" }, "verbs": ["update"] },
                { "subresource": "status", "responseKind": { "group": "", "version": "v1", "kind": "Namespace" },
                  "verbs": ["get", "patch", "update"] },
            ],
        })
    );
    let groups = aggregated_groups("v2beta1");
    let names: Vec<&Value> = groups["items"].as_array().unwrap().iter().map(|group| &group["metadata"]["name"]).collect();
    assert_eq!(names[..2], [&json!("apps"), &json!("events.k8s.io")]);
    assert_eq!(groups["apiVersion"], "apidiscovery.k8s.io/v2beta1");
}
