//! ComponentStatuses: how the parts of the control plane are, looked at when somebody asks.

use serde_json::{Value, json};
use windlass_api::{kind::Kind, status::Status};

use crate::{
    call::{Call, Outcome},
    health,
    registry::selection::Selection,
    reply::{self, Response},
};

/// Upstream's name for the store, the first of several.
const STORE: &str = "etcd-0";
const COMPONENTS: [&str; 3] = ["controller-manager", STORE, "scheduler"];

/// Whether the kind is the one whose objects are not stored.
pub(crate) fn are_meant(kind: &Kind) -> bool {
    (kind.group, kind.plural) == ("", "componentstatuses")
}

/// Answers with one, or with those that are selected.
pub(crate) async fn answer(call: &Call) -> Result<Response, Status> {
    if !call.name.is_empty() {
        return match COMPONENTS.iter().find(|component| **component == call.name) {
            Some(component) => call.object(200, &Outcome::Value(status(call, component).await)),
            None => Err(Status::request(500, "", format!("Component not found: {}", call.name))),
        };
    }
    let selection = Selection::parse(call.kind, &call.query)?;
    let mut statuses = Vec::new();
    for component in COMPONENTS {
        let status = status(call, component).await;
        if selection.matches_value(&status) {
            statuses.push(status);
        }
    }
    Ok(reply::value(200, &call.projection()?.values(&json!({}), &statuses), call.format.media))
}

async fn status(call: &Call, component: &str) -> Value {
    let server = &call.server;
    let healthy = if component == STORE { health::store_is_healthy(server).await } else { server.parts.runs(component) };
    let condition = if healthy {
        json!({ "type": "Healthy", "status": "True", "message": "ok" })
    } else {
        json!({ "type": "Healthy", "status": "False", "error": format!("{component} is not running") })
    };
    json!({
        "kind": "ComponentStatus", "apiVersion": "v1", "metadata": { "name": component }, "conditions": [condition],
    })
}
