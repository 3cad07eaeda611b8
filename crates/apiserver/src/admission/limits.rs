//! LimitRanges: what pods get where they say nothing, and what pods and claims may ask for.

use std::sync::Arc;

use serde_json::Value;
use windlass_api::{kind, limits, status::Status};

use crate::call::Call;

/// Fills in what the ranges of the namespace have for containers that say nothing.
pub(super) async fn fill(call: &Call, pod: &mut Value) -> Result<(), Status> {
    let ranges = ranges(call).await?;
    if !ranges.is_empty() {
        let views: Vec<&Value> = ranges.iter().map(AsRef::as_ref).collect();
        limits::fill(&views, pod);
        // What was filled in has defaults of its own: a request is as much as the limit.
        call.kind.apply_defaults(pod);
    }
    Ok(())
}

/// Refuses what the ranges of the namespace do not allow.
///
/// # Errors
/// 403
pub(crate) async fn check(call: &Call, object: &Value) -> Result<(), Status> {
    let check = match (call.kind.group, call.kind.plural) {
        ("", "pods") => limits::check_pod,
        ("", "persistentvolumeclaims") => limits::check_claim,
        _ => return Ok(()),
    };
    let ranges = ranges(call).await?;
    let views: Vec<&Value> = ranges.iter().map(AsRef::as_ref).collect();
    match check(&views, object) {
        Some(why) => Err(super::forbidden(call, object, &why)),
        None => Ok(()),
    }
}

async fn ranges(call: &Call) -> Result<Vec<Arc<Value>>, Status> {
    let Some(kind) = kind::find("", "v1", "limitranges") else { return Ok(Vec::new()) };
    call.server.registry.look_up_all(kind, &call.namespace).await
}
