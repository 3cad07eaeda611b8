//! What somebody may do: `kubectl auth can-i`.

use serde_json::{Value, json};
use windlass_api::{
    status::Status,
    validation::{Cause, FieldError},
};

use super::verdict;
use crate::{
    authn::User,
    authz::{self, Attributes},
    path::Place,
    server::Server,
};

/// Whether this user may do what the spec describes; `namespace` is that of the path.
pub(super) async fn of(server: &Server, user: &User, spec: &Value, namespace: &str) -> Result<Value, Status> {
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    if resource.is_object() == path.is_object() {
        let error = FieldError {
            cause: Cause::Invalid,
            field: "spec.resourceAttributes".to_owned(),
            bad_value: resource.clone(),
            detail: "exactly one of nonResourceAttributes or resourceAttributes must be specified".to_owned(),
        };
        return Err(Status::invalid("authorization.k8s.io", "SelfSubjectAccessReview", "", &[error]));
    }
    if path.is_object() {
        let allowed = authz::allows_path(server, user, &text(path, "verb"), &text(path, "path")).await;
        return Ok(verdict(allowed, ""));
    }
    let place = Place {
        group: text(resource, "group"),
        version: text(resource, "version"),
        namespace: if namespace.is_empty() { text(resource, "namespace") } else { namespace.to_owned() },
        plural: text(resource, "resource"),
        name: text(resource, "name"),
        subresource: text(resource, "subresource"),
        ..Place::default()
    };
    let verb = text(resource, "verb");
    Ok(verdict(authz::allows(server, &Attributes { user, verb: &verb, place: &place }).await, ""))
}

/// Whether the user whom the spec names may do what it describes.
pub(super) async fn of_other(server: &Server, spec: &Value, namespace: &str) -> Result<Value, Status> {
    let groups = spec["groups"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    let user = User { name: spec["user"].as_str().unwrap_or_default().to_owned(), groups, ..User::default() };
    of(server, &user, spec, namespace).await
}

/// Everything the user may do in a namespace.
pub(super) async fn rules(server: &Server, user: &User, spec: &Value) -> Result<Value, Status> {
    let namespace = spec["namespace"].as_str().unwrap_or_default();
    if user.is_in("system:masters") {
        return Ok(json!({
            "resourceRules": [{ "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"] }],
            "nonResourceRules": [{ "verbs": ["*"], "nonResourceURLs": ["*"] }],
            "incomplete": false,
        }));
    }
    let (mut resources, mut paths) = (Vec::new(), Vec::new());
    for rule in authz::rules(server, user, namespace).await {
        if rule["nonResourceURLs"].is_array() {
            paths.push(json!({ "verbs": rule["verbs"], "nonResourceURLs": rule["nonResourceURLs"] }));
        } else {
            resources.push(rule);
        }
    }
    Ok(json!({ "resourceRules": resources, "nonResourceRules": paths, "incomplete": false }))
}
