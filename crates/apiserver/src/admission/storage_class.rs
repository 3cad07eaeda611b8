//! A claim that names no storage class gets the default one.

use serde_json::Value;
use windlass_api::{kind, status::Status};

use crate::{call::Call, metadata};

const DEFAULT: [&str; 2] = ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];
/// How classes were named before there was a field.
pub(super) const LEGACY: &str = "volume.beta.kubernetes.io/storage-class";

/// Fills in the class. An empty name is a choice, too: no class.
pub(super) async fn admit(call: &Call, claim: &mut Value) -> Result<(), Status> {
    let chosen = claim["spec"]["storageClassName"].is_string() || claim["metadata"]["annotations"][LEGACY].is_string();
    if chosen || !claim["spec"].is_object() {
        return Ok(());
    }
    let Some(kind) = kind::find("storage.k8s.io", "v1", "storageclasses") else { return Ok(()) };
    let is_default = |class: &Value| DEFAULT.iter().any(|key| class["metadata"]["annotations"][key] == "true");
    let classes = call.server.registry.look_up_all(kind, "").await?;
    // As upstream: of several defaults the newest counts, and of those of one age the first by name.
    let newest = classes.iter().filter(|class| is_default(class)).reduce(|best, class| {
        if metadata::text(class, "creationTimestamp") > metadata::text(best, "creationTimestamp") { class } else { best }
    });
    if let Some(class) = newest {
        claim["spec"]["storageClassName"] = class["metadata"]["name"].clone();
    }
    Ok(())
}
