//! A claim grows only where its class allows that.

use serde_json::Value;
use windlass_api::{kind, quantity::Quantity, status::Status};

use super::default_class::LEGACY_STORAGE;
use crate::call::Call;

const REFUSAL: &str =
    "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize";

/// Refuses a larger request for a claim whose class, the same as before, does not say `allowVolumeExpansion`.
///
/// # Errors
/// 403
pub(super) async fn admit(call: &Call, new: &Value, old: &Value) -> Result<(), Status> {
    if size(new) <= size(old) {
        return Ok(());
    }
    let class = class_of(new);
    if !class.is_empty() && class == class_of(old) && expands(call, class).await? {
        return Ok(());
    }
    Err(super::forbidden(call, new, REFUSAL))
}

async fn expands(call: &Call, class: &str) -> Result<bool, Status> {
    let Some(kind) = kind::find("storage.k8s.io", "v1", "storageclasses") else { return Ok(false) };
    let class = call.server.registry.look_up(kind, "", class).await?;
    Ok(class.is_some_and(|class| class["allowVolumeExpansion"] == true))
}

fn class_of(claim: &Value) -> &str {
    let legacy = claim["metadata"]["annotations"][LEGACY_STORAGE].as_str();
    legacy.or(claim["spec"]["storageClassName"].as_str()).unwrap_or_default()
}

fn size(claim: &Value) -> Quantity {
    let request = claim["spec"]["resources"]["requests"]["storage"].as_str();
    request.and_then(|text| text.parse().ok()).unwrap_or(Quantity::ZERO)
}
