//! autoscaling/v1 Scale: how many replicas a workload has and should have, in one shape for all of them.

use serde_json::{Value, json};

use crate::{
    kind::{Kind, Subresource},
    selector::Selector,
    validation::{Cause, FieldError},
};

/// The Scale of a workload; `None` for a kind that cannot be scaled.
pub fn of(kind: &Kind, object: &Value) -> Option<Value> {
    if !kind.has(Subresource::Scale) {
        return None;
    }
    let keys = ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"];
    let metadata: Value =
        keys.into_iter().filter_map(|key| Some((key.to_owned(), object["metadata"].get(key)?.clone()))).collect();
    let number = |value: &Value| value.as_i64().unwrap_or_default();
    let mut scale = json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": {},
        "status": { "replicas": number(&object["status"]["replicas"]) },
    });
    // As upstream encodes them: no replicas are left out where they are asked for, and written where they are counted.
    if number(&object["spec"]["replicas"]) != 0 {
        scale["spec"]["replicas"] = object["spec"]["replicas"].clone();
    }
    let selector = selector(&object["spec"]["selector"]);
    if !selector.is_empty() {
        scale["status"]["selector"] = selector.into();
    }
    Some(scale)
}

/// The selector in text. That of a ReplicationController is a plain map, those of the others are LabelSelectors.
fn selector(selector: &Value) -> String {
    let is_label_selector = ["matchLabels", "matchExpressions"].iter().any(|key| selector.get(key).is_some());
    if is_label_selector {
        return Selector::from_value(selector).map_or_else(|_| String::new(), |selector| selector.to_string());
    }
    let wrapped = json!({ "matchLabels": selector });
    Selector::from_value(&wrapped).map_or_else(|_| String::new(), |selector| selector.to_string())
}

/// The workload with as many replicas as the Scale asks for, and as old as the Scale says it saw it.
pub fn apply(object: &Value, scale: &Value) -> Value {
    let mut object = object.clone();
    let replicas = scale["spec"]["replicas"].as_i64().unwrap_or_default();
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("replicas".to_owned(), replicas.into());
    }
    for key in ["uid", "resourceVersion"] {
        let seen = scale["metadata"][key].as_str().filter(|seen| !seen.is_empty());
        if let (Some(seen), Some(metadata)) = (seen, object.get_mut("metadata").and_then(Value::as_object_mut)) {
            metadata.insert(key.to_owned(), seen.into());
        }
    }
    object
}

/// The configuration of the workload itself that says the same as one of its Scale: replicas, and which object is meant.
pub fn configuration(kind: &Kind, scale: &Value) -> Value {
    let api_version = if kind.group.is_empty() { kind.version.to_owned() } else { format!("{}/{}", kind.group, kind.version) };
    let keys = ["name", "namespace", "uid", "resourceVersion"];
    let metadata: Value =
        keys.into_iter().filter_map(|key| Some((key.to_owned(), scale["metadata"].get(key)?.clone()))).collect();
    let mut configuration = json!({ "apiVersion": api_version, "kind": kind.kind, "metadata": metadata, "spec": {} });
    if let Some(replicas) = scale["spec"].get("replicas") {
        configuration["spec"]["replicas"] = replicas.clone();
    }
    configuration
}

/// Mistakes in a Scale that a client sent.
pub fn validate(scale: &Value) -> Vec<FieldError> {
    let replicas = &scale["spec"]["replicas"];
    if replicas.as_i64().unwrap_or_default() >= 0 {
        return Vec::new();
    }
    vec![FieldError {
        cause: Cause::Invalid,
        field: "spec.replicas".to_owned(),
        bad_value: replicas.clone(),
        detail: "must be greater than or equal to 0".to_owned(),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::{apps, core};

    fn deployment(replicas: i64) -> Value {
        json!({
            "kind": "Deployment",
            "metadata": { "name": "web", "namespace": "default", "uid": "u", "resourceVersion": "5", "labels": { "a": "b" } },
            "spec": { "replicas": replicas, "selector": { "matchLabels": { "app": "web" } } },
            "status": { "replicas": 2 },
        })
    }

    #[test]
    fn of_a_deployment() {
        assert_eq!(
            of(&apps::DEPLOYMENT, &deployment(3)),
            Some(json!({
                "kind": "Scale", "apiVersion": "autoscaling/v1",
                "metadata": { "name": "web", "namespace": "default", "uid": "u", "resourceVersion": "5" },
                "spec": { "replicas": 3 }, "status": { "replicas": 2, "selector": "app=web" },
            }))
        );
        assert_eq!(of(&apps::DEPLOYMENT, &deployment(0)).unwrap()["spec"], json!({}));
        assert_eq!(of(&core::POD, &deployment(3)), None);
    }

    #[test]
    fn of_a_replication_controller() {
        let controller = json!({ "metadata": {}, "spec": { "selector": { "b": "2", "a": "1" } } });
        assert_eq!(of(&core::REPLICATION_CONTROLLER, &controller).unwrap()["status"]["selector"], "a=1,b=2");
    }

    #[test]
    fn applied_it_changes_replicas_alone() {
        let mut expected = deployment(7);
        expected["metadata"]["resourceVersion"] = json!("4");
        let scale = json!({ "metadata": { "name": "web", "resourceVersion": "4" }, "spec": { "replicas": 7 } });
        assert_eq!(apply(&deployment(3), &scale), expected);
        assert_eq!(apply(&deployment(3), &json!({ "spec": {} }))["spec"]["replicas"], 0);
    }

    #[test]
    fn fewer_than_none() {
        let errors = validate(&json!({ "spec": { "replicas": -1 } }));
        assert_eq!(errors[0].to_string(), "spec.replicas: Invalid value: -1: must be greater than or equal to 0");
        assert_eq!(validate(&json!({ "spec": {} })), []);
    }
}
