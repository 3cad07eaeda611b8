//! Which runtime a pod asks for.

use k8s_openapi::api::node::v1::RuntimeClass;
use kube::{Api, Client};

/// Name of the runtime that a pod of this class asks for: that of the class, as the API has it now; empty without a class.
///
/// # Errors
/// Upstream's words for a class that is not there (any more), or cannot be asked for.
pub(crate) async fn handler(client: &Client, class: Option<&str>) -> Result<String, String> {
    let Some(name) = class.filter(|name| !name.is_empty()) else { return Ok(String::new()) };
    let classes: Api<RuntimeClass> = Api::all(client.clone());
    match classes.get_opt(name).await {
        Ok(Some(class)) => Ok(class.handler),
        Ok(None) => Err(format!("runtimeclass.node.k8s.io {name:?} not found")),
        Err(error) => Err(format!("failed to lookup RuntimeClass {name}: {error}")),
    }
}
