//! Rows of namespaces and of what configures them.

use jiff::Timestamp;
use serde_json::Value;

use super::{
    Column,
    cell::{self, count, items, text, text_or},
};

pub(crate) const NAMESPACE: &[Column] = &[Column::NAME, Column::text("Status"), Column::AGE];

pub(crate) fn namespace(namespace: &Value, now: Timestamp) -> Vec<Value> {
    vec![cell::name(namespace), text(&namespace["status"]["phase"]).into(), cell::age(namespace, now)]
}

pub(crate) const COMPONENT_STATUS: &[Column] =
    &[Column::NAME, Column::text("Status"), Column::text("Message"), Column::text("Error")];

pub(crate) fn component_status(component: &Value, _now: Timestamp) -> Vec<Value> {
    let condition = items(&component["conditions"]).find(|condition| condition["type"] == "Healthy");
    let status = match condition {
        Some(condition) if condition["status"] == "True" => "Healthy",
        Some(_) => "Unhealthy",
        None => "Unknown",
    };
    let said = |key: &str| Value::from(condition.map_or("", |condition| text(&condition[key])));
    vec![cell::name(component), status.into(), said("message"), said("error")]
}

pub(crate) const CONFIG_MAP: &[Column] = &[Column::NAME, Column::text("Data"), Column::AGE];

pub(crate) fn config_map(config_map: &Value, now: Timestamp) -> Vec<Value> {
    let keys = count(&config_map["data"]) + count(&config_map["binaryData"]);
    vec![cell::name(config_map), keys.into(), cell::age(config_map, now)]
}

pub(crate) const SECRET: &[Column] = &[Column::NAME, Column::text("Type"), Column::text("Data"), Column::AGE];

pub(crate) fn secret(secret: &Value, now: Timestamp) -> Vec<Value> {
    vec![cell::name(secret), text(&secret["type"]).into(), count(&secret["data"]).into(), cell::age(secret, now)]
}

pub(crate) const SERVICE_ACCOUNT: &[Column] = &[Column::NAME, Column::text("Secrets"), Column::AGE];

pub(crate) fn service_account(account: &Value, now: Timestamp) -> Vec<Value> {
    vec![cell::name(account), count(&account["secrets"]).into(), cell::age(account, now)]
}

pub(crate) const LEASE: &[Column] = &[Column::NAME, Column::text("Holder"), Column::AGE];

pub(crate) fn lease(lease: &Value, now: Timestamp) -> Vec<Value> {
    vec![cell::name(lease), text(&lease["spec"]["holderIdentity"]).into(), cell::age(lease, now)]
}

pub(crate) const RESOURCE_QUOTA: &[Column] = &[Column::NAME, Column::text("Request"), Column::text("Limit"), Column::AGE];

pub(crate) fn resource_quota(quota: &Value, now: Timestamp) -> Vec<Value> {
    let status = &quota["status"];
    let mut hard: Vec<(&String, &Value)> = status["hard"].as_object().into_iter().flatten().collect();
    hard.sort_by_key(|(resource, _)| *resource);
    let (limits, requests): (Vec<_>, Vec<_>) = hard.into_iter().partition(|(resource, _)| resource.starts_with("limits."));
    let used_of_hard = |resources: Vec<(&String, &Value)>| {
        let used = |resource: &str| text_or(&status["used"][resource], "0").to_owned();
        let pairs = resources.iter().map(|(resource, hard)| format!("{resource}: {}/{}", used(resource), text(hard)));
        Value::from(pairs.collect::<Vec<_>>().join(", "))
    };
    vec![cell::name(quota), used_of_hard(requests), used_of_hard(limits), cell::age(quota, now)]
}

pub(crate) const PRIORITY_CLASS: &[Column] =
    &[Column::NAME, Column::integer("Value"), Column::boolean("Global-Default"), Column::AGE, Column::text("PreemptionPolicy")];

pub(crate) fn priority_class(class: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        cell::name(class),
        class["value"].as_i64().unwrap_or_default().into(),
        (class["globalDefault"] == true).into(),
        cell::age(class, now),
        text(&class["preemptionPolicy"]).into(),
    ]
}
