//! Namespaces: nothing is made in one that does not exist or is going away.

use std::sync::Arc;

use serde_json::{Value, json};
use windlass_api::{
    kind,
    status::{Resource, Status},
};

use super::forbidden;
use crate::{call::Call, metadata};

const NAMESPACES: Resource<'static> = Resource { group: "", plural: "namespaces" };

/// The namespace of a new object must be there to stay.
pub(super) async fn create(call: &Call, object: &Value) -> Result<(), Status> {
    if !call.kind.namespaced {
        return Ok(());
    }
    let namespace = home(call).await?;
    if namespace["status"]["phase"] != "Terminating" {
        return Ok(());
    }
    let in_namespace = &call.namespace;
    let why = format!("unable to create new content in namespace {in_namespace} because it is being terminated");
    let mut status = forbidden(call, object, &why);
    if let Some(details) = &mut status.details {
        details["causes"] = json!([{
            "reason": "NamespaceTerminating",
            "message": format!("namespace {in_namespace} is being terminated"),
            "field": "metadata.namespace",
        }]);
    }
    Err(status)
}

/// The namespace of a changed object must exist.
pub(super) async fn update(call: &Call) -> Result<(), Status> {
    if call.kind.namespaced {
        home(call).await?;
    }
    Ok(())
}

/// A namespace is kept by `kubernetes` until its content is gone, and says its name in a label.
pub(super) fn own(namespace: &mut Value) {
    let name = metadata::text(namespace, "name").to_owned();
    if !name.is_empty() {
        let metadata = metadata::map(namespace);
        let labels = metadata.entry("labels").or_insert_with(|| json!({}));
        labels["kubernetes.io/metadata.name"] = name.into();
    }
    if namespace["spec"]["finalizers"].as_array().is_none_or(Vec::is_empty) {
        namespace["spec"]["finalizers"] = json!(["kubernetes"]);
    }
}

/// The namespace that a call is about, as it was when the call first asked.
///
/// # Errors
/// 404 when it does not exist.
pub(super) async fn home(call: &Call) -> Result<&Arc<Value>, Status> {
    if let Some(home) = call.home.get() {
        return Ok(home);
    }
    let missing = || Status::not_found(NAMESPACES, &call.namespace);
    let kind = kind::find("", "v1", "namespaces").ok_or_else(missing)?;
    let found = call.server.registry.look_up(kind, "", &call.namespace).await?.ok_or_else(missing)?;
    Ok(call.home.get_or_init(|| found))
}
