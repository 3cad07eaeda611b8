//! What a request must pass, and what is filled in on the way, after defaults and before validation.

use serde_json::Value;
use windlass_api::{kind::Kind, status::Status};

use crate::{call::Call, metadata};

mod default_class;
mod in_use;
mod lifecycle;
mod limits;
mod node_taint;
mod pod_security;
mod priority;
mod resize;
mod runtime_class;
mod service_account;
mod tolerations;

/// Admits a new object.
///
/// # Errors
/// 403 or 404 when it may not be.
pub(crate) async fn create(call: &Call, object: &mut Value) -> Result<(), Status> {
    lifecycle::create(call, object).await?;
    match (call.kind.group, call.kind.plural) {
        ("", "pods") => {
            limits::fill(call, object).await?;
            service_account::admit(call, object).await?;
            tolerations::admit(object);
            priority::admit(call, object).await?;
            runtime_class::admit(call, object).await
        }
        ("", "persistentvolumeclaims") => {
            in_use::protect(object, in_use::CLAIM);
            default_class::of_claim(call, object).await
        }
        ("networking.k8s.io", "ingresses") => default_class::of_ingress(call, object).await,
        ("", "persistentvolumes") => {
            in_use::protect(object, in_use::VOLUME);
            Ok(())
        }
        ("", "namespaces") => {
            lifecycle::own(object);
            Ok(())
        }
        ("", "nodes") => {
            node_taint::admit(object);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Fills in again what a changed object leaves out of what was filled in when it was made.
pub(crate) fn complete(kind: &Kind, new: &mut Value, old: &Value) {
    if (kind.group, kind.plural) == ("", "pods") {
        tolerations::admit(new);
        priority::keep(new, old);
    }
}

/// Admits a change of an object.
///
/// # Errors
/// 404 when its namespace does not exist.
pub(crate) async fn update(call: &Call) -> Result<(), Status> {
    lifecycle::update(call).await
}

/// Admits a new object that keeps the rules of its kind, which has its name by now.
///
/// # Errors
/// 403 when it may not be, 422 for a namespace with labels that mean nothing.
pub(crate) async fn created(call: &Call, new: &Value) -> Result<(), Status> {
    limits::check(call, new).await?;
    pod_security::admit(call, new, None).await?;
    match (call.kind.group, call.kind.plural) {
        ("", "pods") => runtime_class::check(call, new).await,
        _ => Ok(()),
    }
}

/// Admits what a change makes of an object, whose rules it keeps.
///
/// # Errors
/// As [`created`].
pub(crate) async fn changed(call: &Call, new: &Value, old: &Value) -> Result<(), Status> {
    if (call.kind.group, call.kind.plural, call.subresource.as_str()) == ("", "persistentvolumeclaims", "") {
        resize::admit(call, new, old).await?;
    }
    pod_security::admit(call, new, Some(old)).await
}

/// Admits that an object takes more than it did.
///
/// # Errors
/// 403 when the ranges of the namespace do not allow that much.
pub(crate) async fn grown(call: &Call, new: &Value) -> Result<(), Status> {
    limits::check(call, new).await
}

/// 403. A new object may have no name yet: as upstream, the start of it stands for it then.
fn forbidden(call: &Call, object: &Value, why: &str) -> Status {
    let names = ["name", "generateName"].map(|field| metadata::text(object, field));
    let name = names.into_iter().find(|name| !name.is_empty()).unwrap_or("Unknown");
    Status::forbidden(call.kind.resource(), name, why)
}
