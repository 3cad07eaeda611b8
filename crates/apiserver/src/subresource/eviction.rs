//! `pods/eviction`: a delete that asks the disruption budgets first.

use serde_json::{Value, json};
use windlass_api::{kind, selector::Selector, status::Status};

use crate::{
    body::{self, Gvk},
    call::Call,
    fields::{self, Books},
    metadata, negotiate,
    query::{FieldValidation, bad_request},
    registry::record,
    reply::{self, Response},
    verb::{
        change::{Change, Surface},
        delete::{self, DeleteOptions},
    },
};

const EVICTION: Gvk = Gvk { group: "policy", version: "v1", kind: "Eviction" };
/// Seconds after which an eviction that a budget forbids is worth another try.
const RETRY_SECONDS: u64 = 10;

/// Evicts the pod if its budget has room.
pub(super) async fn answer(call: &Call, body: &[u8]) -> Result<Response, Status> {
    let eviction = if body.is_empty() {
        Value::Null
    } else {
        let mut sent = body::parse(body, negotiate::body(&call.headers)?).map_err(bad_request)?.value;
        // Clients from before 1.22 know the older version alone, which reads the same.
        if sent["apiVersion"] == "policy/v1beta1" {
            sent["apiVersion"] = EVICTION.api_version().into();
        }
        fields::accept(call, sent, EVICTION, FieldValidation::Ignore)?
    };
    let options = match &eviction["deleteOptions"] {
        Value::Null => DeleteOptions::default(),
        sent => DeleteOptions::read_value(sent)?,
    };
    let dry_run = options.is_dry_run() || call.query.dry_run("CreateOptions")?;
    let entry = call.server.registry.get(call.kind, &call.namespace, &call.name).await?;
    let pod = record::decode(&entry)?;
    if is_guarded(&pod) {
        spend_budget(call, &pod, dry_run).await?;
    }
    if !dry_run {
        delete::remove(call, &call.name, &options).await?;
    }
    let status = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201 });
    Ok(reply::value(201, &status, call.format.media))
}

/// A pod that never ran, has finished, or is going away already takes nothing from any budget.
fn is_guarded(pod: &Value) -> bool {
    !metadata::is_deleting(pod) && !matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed" | "Pending"))
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

async fn spend_budget(call: &Call, pod: &Value, dry_run: bool) -> Result<(), Status> {
    let Some(kind) = kind::find("policy", "v1", "poddisruptionbudgets") else { return Ok(()) };
    let budgets = call.server.registry.all(kind, &call.namespace).await?;
    let covers = |budget: &Value| {
        Selector::from_value(&budget["spec"]["selector"]).is_ok_and(|selector| selector.matches(&pod["metadata"]["labels"]))
    };
    let mut covering = budgets.into_iter().filter(covers);
    let Some(budget) = covering.next() else { return Ok(()) };
    if covering.next().is_some() {
        let message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
        return Err(Status::request(500, "InternalError", message));
    }
    // As upstream: an unready pod of a healthy application is not what the budget protects.
    let always = budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow";
    let number = |key: &str| budget["status"][key].as_i64().unwrap_or(0);
    let healthy = number("currentHealthy") >= number("desiredHealthy") && number("desiredHealthy") > 0;
    if !is_ready(pod) && (always || healthy) {
        return Ok(());
    }
    let name = metadata::text(&budget, "name").to_owned();
    let budget_call = call.beside(kind, &name);
    let change = Change { call: &budget_call, surface: Surface::Own, books: Books::AsTheyAre, dry_run, unconditional: true };
    let (pod_name, now) = (call.name.clone(), metadata::timestamp(call.now));
    let mut edit = |old: &Value| spend(old, &pod_name, &now);
    change.apply(&mut edit).await.map(|_| ())
}

/// Takes one disruption, and notes the pod until the controller has seen it go.
fn spend(budget: &Value, pod: &str, now: &str) -> Result<Value, Status> {
    let name = metadata::text(budget, "name");
    let status = &budget["status"];
    let number = |key: &str| status[key].as_i64().unwrap_or(0);
    if number("observedGeneration") < budget["metadata"]["generation"].as_i64().unwrap_or(0) {
        let cause = format!("The disruption budget {name} is still being processed by the server.");
        return Err(too_many(&cause));
    }
    if number("disruptionsAllowed") <= 0 {
        let (desired, healthy) = (number("desiredHealthy"), number("currentHealthy"));
        let cause = format!("The disruption budget {name} needs {desired} healthy pods and has {healthy} currently");
        return Err(too_many(&cause));
    }
    let mut new = budget.clone();
    let status = &mut new["status"];
    let left = status["disruptionsAllowed"].as_i64().unwrap_or(0) - 1;
    status["disruptionsAllowed"] = left.into();
    if left == 0 {
        insufficient(status, now);
    }
    if !status["disruptedPods"].is_object() {
        status["disruptedPods"] = json!({});
    }
    status["disruptedPods"][pod] = now.into();
    Ok(new)
}

fn insufficient(status: &mut Value, now: &str) {
    let conditions = status["conditions"].as_array_mut().into_iter().flatten();
    for condition in conditions.filter(|condition| condition["type"] == "DisruptionAllowed" && condition["status"] != "False") {
        condition["status"] = "False".into();
        condition["reason"] = "InsufficientPods".into();
        condition["lastTransitionTime"] = now.into();
    }
}

fn too_many(cause: &str) -> Status {
    Status {
        code: 429,
        reason: "TooManyRequests",
        message: "Cannot evict pod as it would violate the pod's disruption budget.".to_owned(),
        details: Some(json!({
            "causes": [{ "reason": "DisruptionBudget", "message": cause }],
            "retryAfterSeconds": RETRY_SECONDS,
        })),
    }
}
