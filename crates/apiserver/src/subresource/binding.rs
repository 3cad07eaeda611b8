//! `pods/binding`: the scheduler's word.

use serde_json::{Value, json};
use windlass_api::{kind, status::Status};

use crate::{
    body::Gvk,
    call::Call,
    fields::{self, Books},
    metadata, negotiate,
    query::{FieldValidation, bad_request},
    registry::record,
    reply::{self, Response},
    verb::change::{Change, Surface},
};

const BINDING: Gvk = Gvk { group: "", version: "v1", kind: "Binding" };

/// Assigns the pod to the node that the body names.
pub(super) async fn answer(call: &Call, body: &[u8]) -> Result<Response, Status> {
    let binding = fields::read(call, body, negotiate::body(&call.headers)?, BINDING, FieldValidation::Ignore)?;
    bind(call, &binding).await
}

/// Assigns the pod to a node and says so in its `PodScheduled` condition.
pub(crate) async fn bind(call: &Call, binding: &Value) -> Result<Response, Status> {
    let dry_run = call.query.dry_run("CreateOptions")?;
    let node = binding["target"]["name"].as_str().unwrap_or_default().to_owned();
    if node.is_empty() {
        return Err(bad_request("target.name: Required value"));
    }
    check_claims(call).await?;
    let uid = metadata::text(binding, "uid").to_owned();
    let now = metadata::timestamp(call.now);
    let change = Change { call, surface: Surface::Own, books: Books::AsTheyAre, dry_run, unconditional: true };
    let mut edit = |old: &Value| {
        let conflict = |why: &str| Err(Status::conflict(call.kind.resource(), &call.name, why));
        if !uid.is_empty() && uid != metadata::text(old, "uid") {
            return conflict(&format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                metadata::text(old, "uid")
            ));
        }
        if metadata::is_deleting(old) {
            return conflict(&format!("pod {} is being deleted, cannot be assigned to a host", call.name));
        }
        if let Some(bound) = old["spec"]["nodeName"].as_str().filter(|bound| !bound.is_empty()) {
            return conflict(&format!("pod {} is already assigned to node {bound:?}", call.name));
        }
        if old["spec"]["schedulingGates"].as_array().is_some_and(|gates| !gates.is_empty()) {
            return conflict(&format!("pod {} has non-empty .spec.schedulingGates", call.name));
        }
        let mut new = old.clone();
        new["spec"]["nodeName"] = node.clone().into();
        copy_annotations(&mut new, binding);
        scheduled(&mut new, &now);
        // Where it was nominated for is of no interest any more.
        if let Some(status) = new["status"].as_object_mut() {
            status.remove("nominatedNodeName");
        }
        Ok(new)
    };
    change.apply(&mut edit).await?;
    let status = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201 });
    Ok(reply::value(201, &status, call.format.media))
}

/// A pod with a node keeps its claims, one without a node keeps none. So none may get its node for a claim that goes already, which
/// a scheduler may not have seen: the claim, or the pod that waits for it, would wait for ever.
async fn check_claims(call: &Call) -> Result<(), Status> {
    let registry = &call.server.registry;
    let pod = record::decode(&registry.get(call.kind, &call.namespace, &call.name).await?)?;
    let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    for name in volumes.filter_map(|volume| volume["persistentVolumeClaim"]["claimName"].as_str()) {
        let Some(claim) = registry.find(&kind::core::PERSISTENT_VOLUME_CLAIM, &call.namespace, name).await? else { continue };
        if metadata::is_deleting(&record::decode(&claim)?) {
            let why = format!("persistentvolumeclaim {name:?} is being deleted");
            return Err(Status::conflict(call.kind.resource(), &call.name, &why));
        }
    }
    Ok(())
}

fn copy_annotations(pod: &mut Value, binding: &Value) {
    for (key, value) in binding["metadata"]["annotations"].as_object().into_iter().flatten() {
        if !pod["metadata"]["annotations"].is_object() {
            pod["metadata"]["annotations"] = json!({});
        }
        pod["metadata"]["annotations"][key] = value.clone();
    }
}

fn scheduled(pod: &mut Value, now: &str) {
    let generation = pod["metadata"]["generation"].clone();
    let mut condition = json!({
        "type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now,
    });
    if generation.is_number() {
        condition["observedGeneration"] = generation;
    }
    if !pod["status"].is_object() {
        pod["status"] = json!({});
    }
    match pod["status"]["conditions"].as_array_mut() {
        None => pod["status"]["conditions"] = json!([condition]),
        Some(conditions) => match conditions.iter_mut().find(|own| own["type"] == "PodScheduled") {
            Some(own) => *own = condition,
            None => conditions.push(condition),
        },
    }
}
