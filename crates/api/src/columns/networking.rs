//! Rows of ingresses, network policies and addresses.

use jiff::Timestamp;
use serde_json::Value;

use super::{
    Column,
    cell::{self, first_three, items, text, text_or},
};
use crate::selector::format_label_selector;

pub(crate) const INGRESS: &[Column] =
    &[Column::NAME, Column::text("Class"), Column::text("Hosts"), Column::text("Address"), Column::text("Ports"), Column::AGE];

pub(crate) fn ingress(ingress: &Value, now: Timestamp) -> Vec<Value> {
    let spec = &ingress["spec"];
    let hosts: Vec<String> =
        items(&spec["rules"]).map(|rule| text(&rule["host"]).to_owned()).filter(|host| !host.is_empty()).collect();
    let hosts = if hosts.is_empty() { "*".to_owned() } else { first_three(&hosts) };
    let address =
        |point: &Value| [&point["ip"], &point["hostname"]].map(text).into_iter().find(|text| !text.is_empty()).map(str::to_owned);
    let mut addresses: Vec<String> = items(&ingress["status"]["loadBalancer"]["ingress"]).filter_map(address).collect();
    addresses.sort();
    addresses.dedup();
    let secure = items(&spec["tls"]).next().is_some();
    vec![
        cell::name(ingress),
        text_or(&spec["ingressClassName"], "<none>").into(),
        hosts.into(),
        addresses.join(",").into(),
        if secure { "80, 443" } else { "80" }.into(),
        cell::age(ingress, now),
    ]
}

pub(crate) const INGRESS_CLASS: &[Column] = &[Column::NAME, Column::text("Controller"), Column::text("Parameters"), Column::AGE];

pub(crate) fn ingress_class(class: &Value, now: Timestamp) -> Vec<Value> {
    let spec = &class["spec"];
    let parameters = match &spec["parameters"] {
        Value::Null => "<none>".to_owned(),
        parameters => {
            let group = parameters["apiGroup"].as_str().map(|group| format!(".{group}")).unwrap_or_default();
            format!("{}{group}/{}", text(&parameters["kind"]), text(&parameters["name"]))
        }
    };
    vec![cell::name(class), text(&spec["controller"]).into(), parameters.into(), cell::age(class, now)]
}

pub(crate) const NETWORK_POLICY: &[Column] = &[Column::NAME, Column::text("Pod-Selector"), Column::AGE];

pub(crate) fn network_policy(policy: &Value, now: Timestamp) -> Vec<Value> {
    vec![cell::name(policy), format_label_selector(&policy["spec"]["podSelector"]).into(), cell::age(policy, now)]
}

/// As upstream, there is no age.
pub(crate) const IP_ADDRESS: &[Column] = &[Column::NAME, Column::text("ParentRef")];

pub(crate) fn ip_address(address: &Value, _now: Timestamp) -> Vec<Value> {
    let parent = &address["spec"]["parentRef"];
    let parts = [&parent["namespace"], &parent["name"]].map(text);
    let owner = match text(&parent["group"]) {
        _ if parent.is_null() => "<none>".to_owned(),
        "" => text(&parent["resource"]).to_lowercase(),
        group => format!("{}.{group}", text(&parent["resource"])).to_lowercase(),
    };
    let below = parts.into_iter().filter(|part| !part.is_empty()).map(|part| format!("/{part}"));
    vec![cell::name(address), below.fold(owner, |path, part| path + &part).into()]
}

pub(crate) const SERVICE_CIDR: &[Column] = &[Column::NAME, Column::text("CIDRs"), Column::AGE];

pub(crate) fn service_cidr(range: &Value, now: Timestamp) -> Vec<Value> {
    let cidrs: Vec<&str> = items(&range["spec"]["cidrs"]).map(text).collect();
    vec![cell::name(range), cidrs.join(",").into(), cell::age(range, now)]
}
