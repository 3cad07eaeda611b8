//! Claims and volumes stay for as long as they are used: each gets the finalizer that its controller takes off.

use serde_json::{Value, json};

/// Of a claim, until no pod mounts it.
pub(super) const CLAIM: &str = "kubernetes.io/pvc-protection";
/// Of a volume, until no claim is bound to it.
pub(super) const VOLUME: &str = "kubernetes.io/pv-protection";

/// Adds the finalizer to those that a new object has.
pub(super) fn protect(object: &mut Value, finalizer: &str) {
    let Some(metadata) = object["metadata"].as_object_mut() else { return };
    let finalizers = metadata.entry("finalizers").or_insert(Value::Null);
    match finalizers.as_array_mut() {
        Some(finalizers) if finalizers.iter().any(|present| present == finalizer) => {}
        Some(finalizers) => finalizers.push(finalizer.into()),
        None => *finalizers = json!([finalizer]),
    }
}
