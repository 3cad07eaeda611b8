//! Rows of the workloads, and of what they are made from.

use jiff::Timestamp;
use serde_json::Value;

use super::{
    Column,
    cell::{self, containers, integer, items, text},
};
use crate::selector::{Selector, format_label_selector, format_labels};

pub(crate) const DEPLOYMENT: &[Column] = &[
    Column::NAME,
    Column::text("Ready"),
    Column::text("Up-to-date"),
    Column::text("Available"),
    Column::AGE,
    Column::wide("Containers"),
    Column::wide("Images"),
    Column::wide("Selector"),
];

pub(crate) fn deployment(deployment: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&deployment["spec"], &deployment["status"]);
    let [names, images] = containers(&spec["template"]["spec"]);
    let selector = Selector::from_value(&spec["selector"]).map_or("<invalid>".to_owned(), |selector| selector.to_string());
    vec![
        cell::name(deployment),
        ready_of_desired(deployment),
        integer(&status["updatedReplicas"]).into(),
        integer(&status["availableReplicas"]).into(),
        cell::age(deployment, now),
        names,
        images,
        selector.into(),
    ]
}

fn ready_of_desired(workload: &Value) -> Value {
    let (ready, desired) = (integer(&workload["status"]["readyReplicas"]), integer(&workload["spec"]["replicas"]));
    format!("{ready}/{desired}").into()
}

pub(crate) const REPLICA_SET: &[Column] = &[
    Column::NAME,
    Column::integer("Desired"),
    Column::integer("Current"),
    Column::integer("Ready"),
    Column::AGE,
    Column::wide("Containers"),
    Column::wide("Images"),
    Column::wide("Selector"),
];

pub(crate) fn replica_set(replica_set: &Value, now: Timestamp) -> Vec<Value> {
    replicas(replica_set, now, format_label_selector(&replica_set["spec"]["selector"]))
}

/// Its columns are those of a ReplicaSet.
pub(crate) fn replication_controller(controller: &Value, now: Timestamp) -> Vec<Value> {
    replicas(controller, now, format_labels(&controller["spec"]["selector"]))
}

fn replicas(workload: &Value, now: Timestamp, selector: String) -> Vec<Value> {
    let [names, images] = containers(&workload["spec"]["template"]["spec"]);
    vec![
        cell::name(workload),
        integer(&workload["spec"]["replicas"]).into(),
        integer(&workload["status"]["replicas"]).into(),
        integer(&workload["status"]["readyReplicas"]).into(),
        cell::age(workload, now),
        names,
        images,
        selector.into(),
    ]
}

pub(crate) const STATEFUL_SET: &[Column] =
    &[Column::NAME, Column::text("Ready"), Column::AGE, Column::wide("Containers"), Column::wide("Images")];

pub(crate) fn stateful_set(stateful_set: &Value, now: Timestamp) -> Vec<Value> {
    let [names, images] = containers(&stateful_set["spec"]["template"]["spec"]);
    vec![cell::name(stateful_set), ready_of_desired(stateful_set), cell::age(stateful_set, now), names, images]
}

pub(crate) const DAEMON_SET: &[Column] = &[
    Column::NAME,
    Column::integer("Desired"),
    Column::integer("Current"),
    Column::integer("Ready"),
    Column::integer("Up-to-date"),
    Column::integer("Available"),
    Column::text("Node Selector"),
    Column::AGE,
    Column::wide("Containers"),
    Column::wide("Images"),
    Column::wide("Selector"),
];

pub(crate) fn daemon_set(daemon_set: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&daemon_set["spec"], &daemon_set["status"]);
    let pod_spec = &spec["template"]["spec"];
    let [names, images] = containers(pod_spec);
    vec![
        cell::name(daemon_set),
        integer(&status["desiredNumberScheduled"]).into(),
        integer(&status["currentNumberScheduled"]).into(),
        integer(&status["numberReady"]).into(),
        integer(&status["updatedNumberScheduled"]).into(),
        integer(&status["numberAvailable"]).into(),
        format_labels(&pod_spec["nodeSelector"]).into(),
        cell::age(daemon_set, now),
        names,
        images,
        format_label_selector(&spec["selector"]).into(),
    ]
}

pub(crate) const CONTROLLER_REVISION: &[Column] =
    &[Column::NAME, Column::text("Controller"), Column::text("Revision"), Column::AGE];

pub(crate) fn controller_revision(revision: &Value, now: Timestamp) -> Vec<Value> {
    let owner = items(&revision["metadata"]["ownerReferences"]).find(|owner| owner["controller"] == true);
    let controller = owner.map_or("<none>".to_owned(), |owner| {
        let kind = text(&owner["kind"]).to_lowercase();
        match text(&owner["apiVersion"]).split_once('/') {
            Some((group, _)) => format!("{kind}.{group}/{}", text(&owner["name"])),
            None => format!("{kind}/{}", text(&owner["name"])),
        }
    });
    vec![cell::name(revision), controller.into(), integer(&revision["revision"]).into(), cell::age(revision, now)]
}

pub(crate) const POD_TEMPLATE: &[Column] =
    &[Column::NAME, Column::text("Containers"), Column::text("Images"), Column::text("Pod Labels")];

pub(crate) fn pod_template(pod_template: &Value, _now: Timestamp) -> Vec<Value> {
    let template = &pod_template["template"];
    let [names, images] = containers(&template["spec"]);
    vec![cell::name(pod_template), names, images, format_labels(&template["metadata"]["labels"]).into()]
}

pub(crate) const POD_DISRUPTION_BUDGET: &[Column] = &[
    Column::NAME,
    Column::text("Min Available"),
    Column::text("Max Unavailable"),
    Column::integer("Allowed Disruptions"),
    Column::AGE,
];

pub(crate) fn pod_disruption_budget(budget: &Value, now: Timestamp) -> Vec<Value> {
    let number_or_percent = |value: &Value| match value {
        Value::String(percent) => percent.clone(),
        Value::Number(number) => number.to_string(),
        _ => "N/A".to_owned(),
    };
    vec![
        cell::name(budget),
        number_or_percent(&budget["spec"]["minAvailable"]).into(),
        number_or_percent(&budget["spec"]["maxUnavailable"]).into(),
        integer(&budget["status"]["disruptionsAllowed"]).into(),
        cell::age(budget, now),
    ]
}
