//! A claim that names no storage class gets the default one, and so does an Ingress that names none of its own.

use serde_json::Value;
use windlass_api::{kind, kind::Kind, status::Status};

use crate::{call::Call, metadata};

const DEFAULT_STORAGE: &[&str] =
    &["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];
const DEFAULT_INGRESS: &[&str] = &["ingressclass.kubernetes.io/is-default-class"];
/// How classes were named before there were fields.
pub(super) const LEGACY_STORAGE: &str = "volume.beta.kubernetes.io/storage-class";
const LEGACY_INGRESS: &str = "kubernetes.io/ingress.class";

/// Fills in the storage class of a claim. An empty name is a choice, too: no class.
pub(super) async fn of_claim(call: &Call, claim: &mut Value) -> Result<(), Status> {
    fill(call, claim, "storageClassName", LEGACY_STORAGE, (&kind::storage::STORAGE_CLASS, DEFAULT_STORAGE)).await
}

/// Fills in the class of an Ingress.
pub(super) async fn of_ingress(call: &Call, ingress: &mut Value) -> Result<(), Status> {
    fill(call, ingress, "ingressClassName", LEGACY_INGRESS, (&kind::networking::INGRESS_CLASS, DEFAULT_INGRESS)).await
}

async fn fill(call: &Call, object: &mut Value, field: &str, legacy: &str, classes: (&Kind, &[&str])) -> Result<(), Status> {
    let chosen = object["spec"][field].is_string() || object["metadata"]["annotations"][legacy].is_string();
    if chosen || !object["spec"].is_object() {
        return Ok(());
    }
    let (kind, marks) = classes;
    let is_default = |class: &Value| marks.iter().any(|key| class["metadata"]["annotations"][key] == "true");
    let classes = call.server.registry.look_up_all(kind, "").await?;
    // As upstream: of several defaults the newest counts, and of those of one age the first by name.
    let newest = classes.iter().filter(|class| is_default(class)).reduce(|best, class| {
        if metadata::text(class, "creationTimestamp") > metadata::text(best, "creationTimestamp") { class } else { best }
    });
    if let Some(class) = newest {
        object["spec"][field] = class["metadata"]["name"].clone();
    }
    Ok(())
}
