//! `pods/eviction`: a delete that asks the disruption budgets first.

use serde_json::{Value, json};
use windlass_api::{
    kind::{self, Kind},
    selector::Selector,
    status::Status,
};

use crate::{
    body::{self, Gvk},
    call::Call,
    fields::{self, Books},
    metadata, negotiate,
    query::{FieldValidation, bad_request},
    registry::record,
    reply::{self, Response},
    verb::{
        change::{Change, MODIFIED, Surface},
        delete::{self, DeleteOptions},
    },
};

const BUDGETS: &Kind = &kind::policy::POD_DISRUPTION_BUDGET;
const TARGET: &str = "DisruptionTarget";
const EVICTION: Gvk = Gvk { group: "policy", version: "v1", kind: "Eviction" };
/// Seconds after which an eviction is worth another try while the budget is being worked out. How long a budget stays spent nobody
/// can tell.
const RETRY_SECONDS: u64 = 10;
/// Evicted pods that a budget remembers at most: beyond, its controller is not keeping up.
const MAX_DISRUPTED_PODS: usize = 2000;

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
    options.check_preconditions(call.kind, &call.name, &with_version(pod.clone(), entry.mod_revision))?;
    let unready = is_guarded(&pod) && !spend_budget(call, &pod, dry_run).await?;
    if !dry_run {
        tell_target(call, unready).await?;
        delete::remove(call, &call.name, &options.met()).await?;
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

fn with_version(mut pod: Value, revision: u64) -> Value {
    metadata::map(&mut pod).insert("resourceVersion".to_owned(), revision.to_string().into());
    pod
}

/// Says on the pod that it goes because it was evicted. One that was let go for not being ready must not have become so meanwhile.
async fn tell_target(call: &Call, unready: bool) -> Result<(), Status> {
    let now = metadata::timestamp(call.now);
    let change = Change { call, surface: Surface::Own, books: Books::AsTheyAre, dry_run: false, unconditional: true };
    let mut edit = |old: &Value| {
        if unready && is_ready(old) {
            return Err(Status::conflict(call.kind.resource(), &call.name, MODIFIED));
        }
        let mut new = old.clone();
        let Some(status) = new["status"].as_object_mut() else { return Ok(new) };
        let Some(conditions) = status.entry("conditions").or_insert_with(|| json!([])).as_array_mut() else { return Ok(new) };
        if !conditions.iter().any(|condition| condition["type"] == TARGET && condition["status"] == "True") {
            conditions.retain(|condition| condition["type"] != TARGET);
            conditions.push(json!({
                "type": TARGET, "status": "True", "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting",
                "lastProbeTime": null, "lastTransitionTime": now, "observedGeneration": old["metadata"]["generation"],
            }));
        }
        Ok(new)
    };
    change.apply(&mut edit).await.map(|_| ())
}

/// Takes one disruption from the budget that covers the pod; `false` if the budget lets it go for not being ready.
async fn spend_budget(call: &Call, pod: &Value, dry_run: bool) -> Result<bool, Status> {
    let budgets = call.server.registry.all(BUDGETS, &call.namespace).await?;
    let covers = |budget: &Value| {
        Selector::from_value(&budget["spec"]["selector"]).is_ok_and(|selector| selector.matches(&pod["metadata"]["labels"]))
    };
    let mut covering = budgets.into_iter().filter(covers);
    let Some(budget) = covering.next() else { return Ok(true) };
    if covering.next().is_some() {
        let message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
        return Err(Status::request(500, "InternalError", message));
    }
    // As upstream: an unready pod of a healthy application is not what the budget protects.
    let always = budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow";
    let number = |key: &str| budget["status"][key].as_i64().unwrap_or(0);
    let healthy = number("currentHealthy") >= number("desiredHealthy") && number("desiredHealthy") > 0;
    if !is_ready(pod) && (always || healthy) {
        return Ok(false);
    }
    let name = metadata::text(&budget, "name").to_owned();
    let budget_call = call.beside(BUDGETS, &name);
    let change = Change { call: &budget_call, surface: Surface::Own, books: Books::AsTheyAre, dry_run, unconditional: true };
    let (pod_name, now) = (call.name.clone(), metadata::timestamp(call.now));
    let mut edit = |old: &Value| spend(old, &pod_name, &now);
    change.apply(&mut edit).await.map(|_| true)
}

/// Takes one disruption, and notes the pod until the controller has seen it go.
fn spend(budget: &Value, pod: &str, now: &str) -> Result<Value, Status> {
    let name = metadata::text(budget, "name");
    let status = &budget["status"];
    let number = |key: &str| status[key].as_i64().unwrap_or(0);
    if number("observedGeneration") < budget["metadata"]["generation"].as_i64().unwrap_or(0) {
        let cause = format!("The disruption budget {name} is still being processed by the server.");
        return Err(too_many(&cause, Some(RETRY_SECONDS)));
    }
    if status["disruptedPods"].as_object().is_some_and(|pods| pods.len() > MAX_DISRUPTED_PODS) {
        let why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller";
        return Err(Status::forbidden(BUDGETS.resource(), name, why));
    }
    if number("disruptionsAllowed") <= 0 {
        return Err(too_many(&spent(name, status), None));
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

/// Why a budget allows nothing.
fn spent(name: &str, status: &Value) -> String {
    let number = |key: &str| status[key].as_i64().unwrap_or(0);
    let (desired, healthy) = (number("desiredHealthy"), number("currentHealthy"));
    let mut conditions = status["conditions"].as_array().into_iter().flatten();
    let failed = conditions.find(|condition| condition["type"] == "DisruptionAllowed" && condition["reason"] == "SyncFailed");
    match failed.filter(|_| desired <= healthy) {
        Some(failed) => {
            let why = failed["message"].as_str().unwrap_or_default();
            format!("The disruption budget {name} does not allow evicting pods currently because it failed sync: {why}")
        }
        None => format!("The disruption budget {name} needs {desired} healthy pods and has {healthy} currently"),
    }
}

fn too_many(cause: &str, retry_after_seconds: Option<u64>) -> Status {
    let mut details = json!({ "causes": [{ "reason": "DisruptionBudget", "message": cause }] });
    if let Some(seconds) = retry_after_seconds {
        details["retryAfterSeconds"] = seconds.into();
    }
    Status {
        code: 429,
        reason: "TooManyRequests",
        message: "Cannot evict pod as it would violate the pod's disruption budget.".to_owned(),
        details: Some(details),
    }
}
