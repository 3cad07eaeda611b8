//! Rows of Services and of the endpoints behind them.

use std::{collections::BTreeSet, net::Ipv6Addr};

use jiff::Timestamp;
use serde_json::Value;

use super::{
    Column,
    cell::{self, count, first_three, integer, items, text, text_or},
};
use crate::selector::format_labels;

pub(crate) const SERVICE: &[Column] = &[
    Column::NAME,
    Column::text("Type"),
    Column::text("Cluster-IP"),
    Column::text("External-IP"),
    Column::text("Port(s)"),
    Column::AGE,
    Column::wide("Selector"),
];

pub(crate) fn service(service: &Value, now: Timestamp) -> Vec<Value> {
    let spec = &service["spec"];
    let ports: Vec<String> = items(&spec["ports"]).map(port).collect();
    vec![
        cell::name(service),
        text(&spec["type"]).into(),
        text_or(&spec["clusterIPs"][0], "<none>").into(),
        external_ip(service).into(),
        if ports.is_empty() { "<none>".to_owned() } else { ports.join(",") }.into(),
        cell::age(service, now),
        format_labels(&spec["selector"]).into(),
    ]
}

fn port(port: &Value) -> String {
    let (number, protocol) = (integer(&port["port"]), text(&port["protocol"]));
    match integer(&port["nodePort"]) {
        0 => format!("{number}/{protocol}"),
        node_port => format!("{number}:{node_port}/{protocol}"),
    }
}

fn external_ip(service: &Value) -> String {
    let spec = &service["spec"];
    let external_ips: Vec<&str> = items(&spec["externalIPs"]).map(text).collect();
    match text(&spec["type"]) {
        "ClusterIP" | "NodePort" if external_ips.is_empty() => "<none>".to_owned(),
        "ClusterIP" | "NodePort" => external_ips.join(","),
        "LoadBalancer" => {
            let ingress = items(&service["status"]["loadBalancer"]["ingress"]);
            let addresses: BTreeSet<&str> =
                ingress.map(|ingress| text_or(&ingress["ip"], text(&ingress["hostname"]))).filter(|ip| !ip.is_empty()).collect();
            let all: Vec<&str> = addresses.into_iter().chain(external_ips).collect();
            if all.is_empty() { "<pending>".to_owned() } else { all.join(",") }
        }
        "ExternalName" => text(&spec["externalName"]).to_owned(),
        _ => "<unknown>".to_owned(),
    }
}

pub(crate) const ENDPOINTS: &[Column] = &[Column::NAME, Column::text("Endpoints"), Column::AGE];

pub(crate) fn endpoints(endpoints: &Value, now: Timestamp) -> Vec<Value> {
    let addresses: Vec<String> = items(&endpoints["subsets"]).flat_map(subset).collect();
    let shown = if count(&endpoints["subsets"]) == 0 { "<none>".to_owned() } else { first_three(&addresses) };
    vec![cell::name(endpoints), shown.into(), cell::age(endpoints, now)]
}

/// Every ready address with every port; the address alone if there is no port.
fn subset(subset: &Value) -> Vec<String> {
    let ips: Vec<&str> = items(&subset["addresses"]).map(|address| text(&address["ip"])).collect();
    if count(&subset["ports"]) == 0 {
        return ips.into_iter().map(str::to_owned).collect();
    }
    let ports = items(&subset["ports"]).map(|port| integer(&port["port"]));
    ports.flat_map(|port| ips.iter().map(move |ip| host_and_port(ip, port))).collect()
}

fn host_and_port(ip: &str, port: i64) -> String {
    if ip.parse::<Ipv6Addr>().is_ok() { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

pub(crate) const ENDPOINT_SLICE: &[Column] =
    &[Column::NAME, Column::text("AddressType"), Column::text("Ports"), Column::text("Endpoints"), Column::AGE];

pub(crate) fn endpoint_slice(slice: &Value, now: Timestamp) -> Vec<Value> {
    let port = |port: &Value| match port["port"].as_i64() {
        Some(number) => number.to_string(),
        None => port["name"].as_str().unwrap_or("*").to_owned(),
    };
    let ports: Vec<String> = items(&slice["ports"]).map(port).collect();
    let addresses: Vec<String> =
        items(&slice["endpoints"]).flat_map(|endpoint| items(&endpoint["addresses"])).map(|ip| text(ip).to_owned()).collect();
    let shown = |texts: &[String]| match first_three(texts) {
        shown if shown.is_empty() => "<unset>".to_owned(),
        shown => shown,
    };
    vec![
        cell::name(slice),
        text(&slice["addressType"]).into(),
        shown(&ports).into(),
        shown(&addresses).into(),
        cell::age(slice, now),
    ]
}
