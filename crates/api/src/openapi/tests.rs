//! What clients look for in the documents.

use expect_test::expect;

use super::*;
use crate::kind::KINDS;
use crate::schema;

fn apps() -> Value {
    v3_document(KINDS, "apps", "v1").expect("apps/v1 is served")
}

/// Every `$ref` of a document.
fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        Value::Object(map) => {
            found.extend(map.get("$ref").and_then(Value::as_str));
            map.values().for_each(|value| references(value, found));
        }
        _ => {}
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let mut documents = vec![v2_json(KINDS)];
    let index = v3_index(KINDS);
    for root in index["paths"].as_object().expect("an index of paths").keys() {
        let (group, version) = match root.split('/').collect::<Vec<_>>()[..] {
            ["api", version] => ("", version),
            ["apis", group, version] => (group, version),
            _ => unreachable!("{root}"),
        };
        documents.push(v3_document(KINDS, group, version).expect("the index lists what is served"));
    }
    for document in &documents {
        let mut found = Vec::new();
        references(document, &mut found);
        assert!(!found.is_empty());
        for reference in found {
            assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
        }
    }
}

#[test]
fn lists_say_what_is_in_them() {
    let document = v2_json(KINDS);
    let items = |model: &str| document["definitions"][model]["properties"]["items"]["description"].clone();
    assert_eq!(items("io.k8s.api.core.v1.ServiceList"), "List of services");
    assert_eq!(items("io.k8s.api.apps.v1.DeploymentList"), "List of deployments");
}

/// kubectl reads it beside the reference, and leaves `$retainKeys` out of its patches where it does not find it.
#[test]
fn unions_say_that_they_retain_keys() {
    let strategy = "/properties/strategy/x-kubernetes-patch-strategy";
    let (v2, v3) = (v2_json(KINDS), apps());
    for models in [&v2["definitions"], &v3["components"]["schemas"]] {
        assert_eq!(models["io.k8s.api.apps.v1.DeploymentSpec"].pointer(strategy), Some(&"retainKeys".into()));
    }
}

#[test]
fn lists_say_how_they_merge() {
    let document = apps();
    let containers = &document["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
    let mut containers = containers.clone();
    assert!(containers["description"].as_str().is_some_and(|text| text.starts_with("List of containers")));
    containers["description"] = "…".into();
    expect![[r##"
        {
          "description": "…",
          "items": {
            "$ref": "#/components/schemas/io.k8s.api.core.v1.Container"
          },
          "type": "array",
          "x-kubernetes-list-map-keys": [
            "name"
          ],
          "x-kubernetes-list-type": "map",
          "x-kubernetes-patch-merge-key": "name",
          "x-kubernetes-patch-strategy": "merge"
        }"##]]
    .assert_eq(&format!("{containers:#}"));
}

#[test]
fn patches_list_validation_and_dry_run() {
    for (paths, version) in [(&apps()["paths"], 3), (&v2_json(KINDS)["paths"], 2)] {
        let patch = &paths["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
        let parameters = patch["parameters"].as_array().expect("a patch has parameters");
        for wanted in ["dryRun", "fieldValidation", "force", "fieldManager"] {
            let found = parameters.iter().any(|parameter| parameter["name"] == wanted && parameter["in"] == "query");
            assert!(found, "{wanted} in v{version}");
        }
        assert_eq!(patch["x-kubernetes-group-version-kind"], json!({ "group": "apps", "kind": "Deployment", "version": "v1" }));
        assert_eq!(patch["operationId"], "patchAppsV1NamespacedDeployment");
    }
}

#[test]
fn every_kind_has_a_model_and_a_description() {
    let document = v2_json(KINDS);
    for kind in KINDS {
        let model = schema::message(kind.group, kind.version, kind.kind).expect("the table has every kind served").model();
        let definition = &document["definitions"][&model];
        assert!(definition["description"].is_string(), "{model}");
        let gvk = json!([{ "group": kind.group, "kind": kind.kind, "version": kind.version }]);
        assert_eq!(definition["x-kubernetes-group-version-kind"], gvk);
    }
}

#[test]
fn hashes_change_with_what_is_served() {
    let (all, fewer) = (v3_index(KINDS), v3_index(&KINDS[1..]));
    let url = |index: &Value| index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().map(str::to_owned);
    assert_ne!(url(&all), url(&fewer));
    assert_eq!(url(&all), url(&v3_index(KINDS)));
    assert!(url(&all).is_some_and(|url| url.starts_with("/openapi/v3/apis/apps/v1?hash=") && url.len() == 94));
    assert_eq!(v3_document(KINDS, "apps", "v2"), None);
}

#[test]
fn the_table_has_the_fields_that_the_types_have() {
    let (mut missing, mut surplus) = (Vec::new(), Vec::new());
    for (model, definition) in descriptions::Descriptions::of(&Served::of(KINDS, None)).models() {
        let Some(message) = schema::model(model) else { continue };
        let Some(properties) = definition["properties"].as_object() else { continue };
        let own = |name: &str| message.kind && ["apiVersion", "kind"].contains(&name);
        let unknown = properties.keys().filter(|name| message.field(name).is_none() && !own(name));
        missing.extend(unknown.map(|name| format!("{model}.{name}")));
        let fields = message.fields().iter().map(|field| field.name);
        surplus.extend(fields.filter(|name| !properties.contains_key(*name)).map(|name| format!("{model}.{name}")));
    }
    assert_eq!((missing, surplus), (Vec::<String>::new(), Vec::<String>::new()));
}

/// What Go reads and writes again has no empty lists of parameters.
#[test]
fn no_list_of_parameters_is_empty() {
    fn look(value: &Value) {
        match value {
            Value::Object(map) => {
                assert_ne!(map.get("parameters"), Some(&json!([])));
                map.values().for_each(look);
            }
            Value::Array(items) => items.iter().for_each(look),
            _ => {}
        }
    }
    look(&v3_document(KINDS, "", "v1").unwrap()["paths"]);
    look(&v2_json(KINDS)["paths"]);
}

#[test]
fn what_is_only_posted_is_there_too() {
    let document = v3_document(KINDS, "authorization.k8s.io", "v1").expect("reviews are posted there");
    let create = &document["paths"]["/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"]["post"];
    assert_eq!(create["operationId"], "createAuthorizationV1SelfSubjectAccessReview");
    assert!(document["components"]["schemas"]["io.k8s.api.authorization.v1.SelfSubjectAccessReview"]["description"].is_string());
}

#[test]
fn swagger_as_protobuf_holds_every_name() {
    let body = v2_protobuf(KINDS);
    let text = String::from_utf8_lossy(&body);
    for name in ["io.k8s.api.apps.v1.Deployment", "/apis/apps/v1/namespaces/{namespace}/deployments/{name}", "fieldValidation"] {
        assert!(text.contains(name), "{name}");
    }
    assert!(body.starts_with(b"\x0a\x032.0\x12"));
}
