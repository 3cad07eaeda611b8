//! Rows of nodes, and of the runtimes that they may have.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use super::{
    Column,
    cell::{self, items, text, text_or},
};

pub(crate) const RUNTIME_CLASS: &[Column] = &[Column::NAME, Column::text("Handler"), Column::AGE];

pub(crate) fn runtime_class(class: &Value, now: Timestamp) -> Vec<Value> {
    vec![cell::name(class), text(&class["handler"]).into(), cell::age(class, now)]
}

pub(crate) const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::text("Status"),
    Column::text("Roles"),
    Column::AGE,
    Column::text("Version"),
    Column::wide("Internal-IP"),
    Column::wide("External-IP"),
    Column::wide("OS-Image"),
    Column::wide("Kernel-Version"),
    Column::wide("Container-Runtime"),
];

pub(crate) fn row(node: &Value, now: Timestamp) -> Vec<Value> {
    let info = &node["status"]["nodeInfo"];
    let address = |kind: &str| {
        let found = items(&node["status"]["addresses"]).find(|address| address["type"] == kind);
        Value::from(found.map_or("<none>", |address| text(&address["address"])))
    };
    let known = |key: &str| Value::from(text_or(&info[key], "<unknown>"));
    vec![
        cell::name(node),
        status(node).into(),
        roles(node).into(),
        cell::age(node, now),
        text(&info["kubeletVersion"]).into(),
        address("InternalIP"),
        address("ExternalIP"),
        known("osImage"),
        known("kernelVersion"),
        known("containerRuntimeVersion"),
    ]
}

fn status(node: &Value) -> String {
    let ready = items(&node["status"]["conditions"]).rfind(|condition| condition["type"] == "Ready");
    let mut status = match ready {
        Some(condition) if condition["status"] == "True" => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if node["spec"]["unschedulable"] == true {
        status.push_str(",SchedulingDisabled");
    }
    status
}

/// Roles are labels: `node-role.kubernetes.io/ROLE` with any value, and `kubernetes.io/role: ROLE`.
fn roles(node: &Value) -> String {
    let labels = node["metadata"]["labels"].as_object().into_iter().flatten();
    let roles: BTreeSet<&str> = labels
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => Some(role),
            None => (key == "kubernetes.io/role").then(|| text(value)),
        })
        .filter(|role| !role.is_empty())
        .collect();
    if roles.is_empty() { "<none>".to_owned() } else { roles.into_iter().collect::<Vec<_>>().join(",") }
}
