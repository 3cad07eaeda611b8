//! A pod's priority comes from its class.

use std::sync::Arc;

use serde_json::Value;
use windlass_api::{kind, status::Status};

use super::forbidden;
use crate::call::Call;

/// Resolves `priorityClassName` into `priority` and `preemptionPolicy`.
///
/// # Errors
/// 403 when there is no such class, or the pod says another number than its class.
pub(super) async fn admit(call: &Call, pod: &mut Value) -> Result<(), Status> {
    if !pod["spec"].is_object() {
        return Ok(());
    }
    let class = pod["spec"]["priorityClassName"].as_str().unwrap_or_default().to_owned();
    let found = find(call, &class).await?;
    if !class.is_empty() && found.is_none() {
        let why = format!("no PriorityClass with name {class} was found");
        return Err(forbidden(call, pod, &why));
    }
    let value = found.as_ref().and_then(|class| class["value"].as_i64()).unwrap_or(0);
    if pod["spec"]["priority"].as_i64().is_some_and(|own| own != value) {
        let why = "the integer value of priority must not be provided in pod spec; priority admission controller computed ";
        let own = &pod["spec"]["priority"];
        let why = format!("{why}{value} from the given PriorityClass name, got {own}");
        return Err(forbidden(call, pod, &why));
    }
    let policy = found.as_ref().and_then(|class| class["preemptionPolicy"].as_str()).unwrap_or("PreemptLowerPriority").to_owned();
    let spec = &mut pod["spec"];
    spec["priority"] = value.into();
    if spec["preemptionPolicy"].is_null() {
        spec["preemptionPolicy"] = policy.into();
    }
    if let Some(class) = found.filter(|_| class.is_empty()) {
        spec["priorityClassName"] = class["metadata"]["name"].clone();
    }
    Ok(())
}

/// A changed pod that says nothing of its priority keeps it.
pub(super) fn keep(new: &mut Value, old: &Value) {
    for field in ["priority", "preemptionPolicy"] {
        let had = &old["spec"][field];
        if new["spec"].is_object() && new["spec"][field].is_null() && !had.is_null() {
            new["spec"][field] = had.clone();
        }
    }
}

/// The class of this name; for none, the one that is the default for all.
async fn find(call: &Call, name: &str) -> Result<Option<Arc<Value>>, Status> {
    let Some(kind) = kind::find("scheduling.k8s.io", "v1", "priorityclasses") else { return Ok(None) };
    let registry = &call.server.registry;
    if !name.is_empty() {
        return registry.look_up(kind, "", name).await;
    }
    // There are few classes, and which is the default may change at any time.
    let defaults = registry.look_up_all(kind, "").await?.into_iter().filter(|class| class["globalDefault"] == true);
    Ok(defaults.min_by_key(|class| class["value"].as_i64()))
}
