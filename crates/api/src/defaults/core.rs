//! Defaults of the core kinds that are not pods or storage.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::fill::{blank, each, inherit, inside, remove, text, unset, within};
use super::{pod, quantities};

/// Three hours: how long upstream sends a client's connections to the same pod.
const CLIENT_IP_TIMEOUT_SECONDS: i64 = 10_800;

pub(super) fn service(service: &mut Value) {
    within(service, "spec", |spec| {
        session_affinity(spec);
        blank(spec, "type", "ClusterIP");
        let kind = text(spec, "type").to_owned();
        each(spec, "ports", |port| {
            blank(port, "protocol", "TCP");
            if let Some(number) = port["port"].as_i64() {
                blank(port, "targetPort", number);
            }
        });
        let routed = matches!(kind.as_str(), "ClusterIP" | "NodePort" | "LoadBalancer");
        let external_ips = spec["externalIPs"].as_array().is_some_and(|ips| !ips.is_empty());
        if matches!(kind.as_str(), "NodePort" | "LoadBalancer") || (kind == "ClusterIP" && external_ips) {
            blank(spec, "externalTrafficPolicy", "Cluster");
        }
        if routed {
            unset(spec, "internalTrafficPolicy", "Cluster");
        }
        if kind == "LoadBalancer" {
            unset(spec, "allocateLoadBalancerNodePorts", true);
        }
    });
    if service["spec"]["type"] == "LoadBalancer" {
        inside(service, "status", |status| {
            inside(status, "loadBalancer", |load_balancer| {
                each(load_balancer, "ingress", |ingress| {
                    if !text(ingress, "ip").is_empty() {
                        unset(ingress, "ipMode", "VIP");
                    }
                });
            });
        });
    }
}

fn session_affinity(spec: &mut Value) {
    blank(spec, "sessionAffinity", "None");
    match text(spec, "sessionAffinity") {
        "None" => {
            remove(spec, "sessionAffinityConfig");
        }
        "ClientIP" if spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"].is_null() => {
            spec["sessionAffinityConfig"] = json!({ "clientIP": { "timeoutSeconds": CLIENT_IP_TIMEOUT_SECONDS } });
        }
        _ => {}
    }
}

pub(super) fn endpoints(endpoints: &mut Value) {
    each(endpoints, "subsets", |subset| each(subset, "ports", |port| blank(port, "protocol", "TCP")));
}

/// `stringData` is only ever written: upstream folds it into `data` as it decodes a Secret.
pub(super) fn secret(secret: &mut Value) {
    if let Some(Value::Object(string_data)) = remove(secret, "stringData") {
        within(secret, "data", |data| {
            for (key, value) in string_data {
                data[key] = STANDARD.encode(value.as_str().unwrap_or_default()).into();
            }
        });
    }
    blank(secret, "type", "Opaque");
}

/// The name is a label too, so that a selector can name a namespace.
pub(super) fn namespace(namespace: &mut Value) {
    let name = text(&namespace["metadata"], "name").to_owned();
    if !name.is_empty() {
        within(namespace, "metadata", |metadata| {
            within(metadata, "labels", |labels| labels["kubernetes.io/metadata.name"] = name.into());
        });
    }
    within(namespace, "status", |status| blank(status, "phase", "Active"));
}

pub(super) fn node(node: &mut Value) {
    within(node, "status", |status| {
        if status["capacity"].is_object() && status["allocatable"].is_null() {
            status["allocatable"] = status["capacity"].clone();
        }
        quantities::canonical(status, "capacity");
        quantities::canonical(status, "allocatable");
    });
}

pub(super) fn replication_controller(controller: &mut Value) {
    if let Some(labels) = controller["spec"]["template"]["metadata"]["labels"].as_object().filter(|map| !map.is_empty()).cloned()
    {
        within(controller, "spec", |spec| empty_map(spec, "selector", &labels));
        within(controller, "metadata", |metadata| empty_map(metadata, "labels", &labels));
    }
    within(controller, "spec", |spec| {
        unset(spec, "replicas", 1);
        if spec["template"].is_object() {
            pod::template(spec, "template");
        }
    });
}

fn empty_map(object: &mut Value, field: &str, default: &Map<String, Value>) {
    if object[field].as_object().is_none_or(Map::is_empty) {
        object[field] = Value::Object(default.clone());
    }
}

pub(super) fn limit_range(limit_range: &mut Value) {
    within(limit_range, "spec", |spec| {
        each(spec, "limits", |item| {
            if item["type"] == "Container" {
                for (to, from) in [("default", "max"), ("defaultRequest", "default"), ("defaultRequest", "min")] {
                    if let Some(from) = item[from].as_object().cloned() {
                        inherit(item, to, &from);
                    }
                }
            }
            for field in ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"] {
                quantities::canonical(item, field);
            }
        });
    });
}

pub(super) fn resource_quota(quota: &mut Value) {
    inside(quota, "spec", |spec| quantities::canonical(spec, "hard"));
    inside(quota, "status", |status| {
        quantities::canonical(status, "hard");
        quantities::canonical(status, "used");
    });
}
