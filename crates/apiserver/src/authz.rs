//! Who may do what: `system:masters` everything, everybody else what RBAC objects in the store give.

use std::sync::Arc;

use serde_json::Value;
use windlass_api::{kind, status::Status};

use crate::{authn::User, health, path::Place, server::Server};

const RBAC: &str = "rbac.authorization.k8s.io";

/// A request to a resource, as authorization sees it.
#[derive(Debug)]
pub(crate) struct Attributes<'a> {
    pub(crate) user: &'a User,
    pub(crate) verb: &'a str,
    pub(crate) place: &'a Place,
}

/// Refuses what the user may not do.
///
/// # Errors
/// 403
pub(crate) async fn check(server: &Server, attributes: &Attributes<'_>) -> Result<(), Status> {
    if allows(server, attributes).await {
        return Ok(());
    }
    let Attributes { user, verb, place } = attributes;
    let Place { group, plural, name, namespace, subresource, .. } = place;
    let resource = if subresource.is_empty() { plural.clone() } else { format!("{plural}/{subresource}") };
    let qualified = if group.is_empty() { plural.clone() } else { format!("{plural}.{group}") };
    let about = if name.is_empty() { qualified } else { format!("{qualified} \"{name}\"") };
    let scope =
        if namespace.is_empty() { "at the cluster scope".to_owned() } else { format!("in the namespace \"{namespace}\"") };
    let message = format!(
        "{about} is forbidden: User \"{}\" cannot {verb} resource \"{resource}\" in API group \"{group}\" {scope}",
        user.name
    );
    let mut details = serde_json::json!({ "kind": plural });
    for (key, text) in [("name", name), ("group", group)].into_iter().filter(|(_, text)| !text.is_empty()) {
        details[key] = text.as_str().into();
    }
    Err(Status { code: 403, reason: "Forbidden", message, details: Some(details) })
}

/// Refuses a path outside the resources.
///
/// # Errors
/// 403
pub(crate) async fn check_path(server: &Server, user: &User, verb: &str, path: &str) -> Result<(), Status> {
    if allows_path(server, user, verb, path).await {
        return Ok(());
    }
    let message = format!("forbidden: User \"{}\" cannot {verb} path \"{path}\"", user.name);
    Err(Status { code: 403, reason: "Forbidden", message, details: Some(serde_json::json!({})) })
}

/// Whether the user may read or call this path.
pub(crate) async fn allows_path(server: &Server, user: &User, verb: &str, path: &str) -> bool {
    if user.is_in("system:masters") || health::is_public(path) {
        return true;
    }
    let covers = |rule: &Value| {
        contains(&rule["verbs"], verb) && texts(&rule["nonResourceURLs"]).any(|pattern| matches_path(pattern, path))
    };
    rules(server, user, "").await.iter().any(covers)
}

fn matches_path(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => pattern == path,
    }
}

/// Whether the user may do this.
pub(crate) async fn allows(server: &Server, attributes: &Attributes<'_>) -> bool {
    let Attributes { user, verb, place } = attributes;
    if user.is_in("system:masters") {
        return true;
    }
    rules(server, user, &place.namespace).await.iter().any(|rule| covers(rule, verb, place))
}

fn covers(rule: &Value, verb: &str, place: &Place) -> bool {
    let resource =
        if place.subresource.is_empty() { place.plural.clone() } else { format!("{}/{}", place.plural, place.subresource) };
    let any_of_subresource = format!("*/{}", place.subresource);
    let mut resources = texts(&rule["resources"]);
    contains(&rule["verbs"], verb)
        && contains(&rule["apiGroups"], &place.group)
        && resources.any(|own| own == "*" || own == resource || (!place.subresource.is_empty() && own == any_of_subresource))
        && (rule["resourceNames"].as_array().is_none_or(Vec::is_empty)
            || texts(&rule["resourceNames"]).any(|own| own == place.name))
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn contains(list: &Value, wanted: &str) -> bool {
    texts(list).any(|own| own == "*" || own == wanted)
}

/// The rules that the user's bindings lead to, those of the cluster and, where one is given, those of a namespace.
pub(crate) async fn rules(server: &Server, user: &User, namespace: &str) -> Vec<Value> {
    let mut rules = Vec::new();
    for binding in all(server, "clusterrolebindings", "").await {
        if binds(&binding, user, "") {
            rules.extend(role_rules(server, &binding["roleRef"], "").await);
        }
    }
    if !namespace.is_empty() {
        for binding in all(server, "rolebindings", namespace).await {
            if binds(&binding, user, namespace) {
                rules.extend(role_rules(server, &binding["roleRef"], namespace).await);
            }
        }
    }
    rules
}

/// A collection of RBAC objects; what cannot be read gives nothing.
async fn all(server: &Server, plural: &str, namespace: &str) -> Vec<Arc<Value>> {
    let Some(kind) = kind::find(RBAC, "v1", plural) else { return Vec::new() };
    server.registry.look_up_all(kind, namespace).await.unwrap_or_default()
}

fn binds(binding: &Value, user: &User, namespace: &str) -> bool {
    let subjects = binding["subjects"].as_array().into_iter().flatten();
    subjects.into_iter().any(|subject| {
        let name = subject["name"].as_str().unwrap_or_default();
        match subject["kind"].as_str() {
            Some("User") => name == user.name,
            Some("Group") => user.is_in(name),
            Some("ServiceAccount") => {
                let own = subject["namespace"].as_str().unwrap_or(namespace);
                user.name == format!("system:serviceaccount:{own}:{name}")
            }
            _ => false,
        }
    })
}

async fn role_rules(server: &Server, reference: &Value, namespace: &str) -> Vec<Value> {
    let name = reference["name"].as_str().unwrap_or_default();
    let (plural, namespace) = if reference["kind"] == "ClusterRole" { ("clusterroles", "") } else { ("roles", namespace) };
    let Some(kind) = kind::find(RBAC, "v1", plural) else { return Vec::new() };
    let Ok(Some(role)) = server.registry.look_up(kind, namespace, name).await else { return Vec::new() };
    role["rules"].as_array().cloned().unwrap_or_default()
}
