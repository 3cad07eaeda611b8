//! Rules of Services.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::errors::Errors;
use super::field::Field;
use super::pod::probe::port as port_number_or_name;
use super::{address, cluster_ip, format, metadata};

/// One day: longest that a client's connections go to the same pod.
const AFFINITY_SECONDS_MAX: i64 = 86_400;
const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
const TOPOLOGY_HINTS: &str = "service.kubernetes.io/topology-aware-hints";
const TOPOLOGY_MODE: &str = "service.kubernetes.io/topology-mode";
const ONLY_LOAD_BALANCER: &str = "may only be used when `type` is 'LoadBalancer'";

pub(super) fn service(service: &Field<'_>, errors: &mut Errors) {
    let (spec, annotations) = (service.get("spec"), service.get("metadata").get("annotations"));
    let (hints, mode) = (annotations.key(TOPOLOGY_HINTS), annotations.key(TOPOLOGY_MODE));
    if hints.is_set() && mode.is_set() && hints.text() != mode.text() {
        errors.invalid(&mode, format!("must match annotations[{TOPOLOGY_HINTS}] when both are specified"));
    }
    let kind = spec.get("type").text();
    let ports = spec.get("ports");
    if ports.is_empty() && !is_headless(&spec) && kind != "ExternalName" {
        errors.required(&ports, "");
    }
    by_type(&spec, errors);
    let mut names = BTreeSet::new();
    for port in ports.items() {
        service_port(&port, ports.len() > 1, &mut names, errors);
    }
    metadata::labels(&spec.get("selector"), errors);
    session_affinity(&spec, errors);
    cluster_ip::cluster_ips(&spec, errors);
    for ip in spec.get("externalIPs").items() {
        let before = errors.0.len();
        address::valid_ip(&ip, errors);
        if errors.0.len() == before {
            address::not_special(&ip, errors);
        }
    }
    errors.required_one_of(&spec.get("type"), &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]);
    distinct_ports(&ports, kind, errors);
    source_ranges(&spec, &annotations, errors);
    load_balancer(&spec, errors);
    traffic_policies(&spec, errors);
}

/// Whether a Service has no address of its own.
pub(super) fn is_headless(spec: &Field<'_>) -> bool {
    let ips = spec.get("clusterIPs");
    ips.len() == 1 && ips.items().all(|ip| ip.text() == "None")
}

fn by_type(spec: &Field<'_>, errors: &mut Errors) {
    let kind = spec.get("type").text();
    match kind {
        "LoadBalancer" | "NodePort" if is_headless(spec) => {
            errors.invalid_as(&spec.child("clusterIPs[0]"), "None", format!("may not be set to 'None' for {kind} services"));
        }
        "ExternalName" => {
            for field in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                let value = spec.get(field);
                if value.is_set() && (field == "ipFamilyPolicy" || !value.is_empty()) {
                    errors.forbidden(&value, "may not be set for ExternalName services");
                }
            }
            let name = spec.get("externalName");
            let text = name.text().strip_suffix('.').unwrap_or(name.text());
            if text.is_empty() {
                errors.required(&name, "");
            }
            for message in if text.is_empty() { Vec::new() } else { format::dns1123_subdomain(text) } {
                errors.invalid_as(name.path(), text, message);
            }
        }
        _ => {}
    }
}

fn service_port<'a>(port: &Field<'a>, needs_name: bool, names: &mut BTreeSet<&'a str>, errors: &mut Errors) {
    let name = port.get("name");
    if needs_name && name.text().is_empty() {
        errors.required(&name, "");
    } else if !name.text().is_empty() {
        errors.format(&name, format::dns1123_label);
        if !names.insert(name.text()) {
            errors.duplicate(&name);
        }
    }
    errors.in_range(&port.get("port"), 1, 65535);
    errors.required_one_of(&port.get("protocol"), &["SCTP", "TCP", "UDP"]);
    port_number_or_name(&port.get("targetPort"), errors);
    if port.has("appProtocol") {
        errors.format(&port.get("appProtocol"), format::qualified_name);
    }
}

fn session_affinity(spec: &Field<'_>, errors: &mut Errors) {
    let (affinity, config) = (spec.get("sessionAffinity"), spec.get("sessionAffinityConfig"));
    errors.required_one_of(&affinity, &["ClientIP", "None"]);
    match affinity.text() {
        "ClientIP" => {
            let (client_ip, timeout) = (config.get("clientIP"), config.get("clientIP").get("timeoutSeconds"));
            let missing = [config, client_ip, timeout.clone()].into_iter().find(|field| !field.is_set());
            if let Some(missing) = missing {
                errors.required(&missing, "when session affinity type is ClientIP");
            } else if !(1..=AFFINITY_SECONDS_MAX).contains(&timeout.number()) {
                errors.invalid(&timeout, format!("must be greater than 0 and less than {AFFINITY_SECONDS_MAX}"));
            }
        }
        "None" if config.is_set() => errors.forbidden(&config, "must not be set when session affinity is None"),
        _ => {}
    }
}

fn distinct_ports(ports: &Field<'_>, kind: &str, errors: &mut Errors) {
    let (mut node_ports, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    if kind == "ClusterIP" {
        for port in ports.items().filter(|port| port.get("nodePort").number() != 0) {
            errors.forbidden(&port.get("nodePort"), "may not be used when `type` is 'ClusterIP'");
        }
    }
    for port in ports.items() {
        let (protocol, node_port) = (port.get("protocol").text(), port.get("nodePort"));
        if node_port.number() != 0 && !node_ports.insert((protocol, node_port.number())) {
            errors.duplicate(&node_port);
        }
    }
    for port in ports.items() {
        let (protocol, number) = (port.get("protocol").text(), port.get("port").number());
        if !numbers.insert((protocol, number)) {
            errors.duplicate_as(
                port.path(),
                json!({
                    "Name": "", "Protocol": protocol, "AppProtocol": null, "Port": number, "TargetPort": 0, "NodePort": 0,
                }),
                "",
            );
        }
    }
}

fn source_ranges(spec: &Field<'_>, annotations: &Field<'_>, errors: &mut Errors) {
    let is_load_balancer = spec.get("type").text() == "LoadBalancer";
    let (ranges, annotation) = (spec.get("loadBalancerSourceRanges"), annotations.key(SOURCE_RANGES));
    if !ranges.is_empty() {
        let path = spec.child("LoadBalancerSourceRanges");
        if !is_load_balancer {
            errors.forbidden(&ranges.named(path.as_str()), ONLY_LOAD_BALANCER);
        }
        for (index, range) in ranges.items().enumerate() {
            address::valid_cidr(&range.named(format!("{path}[{index}]")), range.text().trim(), errors);
        }
    } else if annotation.is_set() {
        if !is_load_balancer {
            errors.forbidden(&annotation, ONLY_LOAD_BALANCER);
        }
        for range in annotation.text().split(',').map(str::trim).filter(|_| !annotation.text().trim().is_empty()) {
            address::valid_cidr(&annotation, range, errors);
        }
    }
}

fn load_balancer(spec: &Field<'_>, errors: &mut Errors) {
    let is_load_balancer = spec.get("type").text() == "LoadBalancer";
    let (allocate, class) = (spec.get("allocateLoadBalancerNodePorts"), spec.get("loadBalancerClass"));
    if allocate.is_set() && !is_load_balancer {
        errors.forbidden(&allocate, ONLY_LOAD_BALANCER);
    }
    if !allocate.is_set() && is_load_balancer {
        errors.required(&allocate.named("allocateLoadBalancerNodePorts"), "");
    }
    load_balancer_class(&class, is_load_balancer, errors);
}

fn load_balancer_class(class: &Field<'_>, is_load_balancer: bool, errors: &mut Errors) {
    if !class.is_set() {
        return;
    }
    if is_load_balancer { errors.format(class, format::qualified_name) } else { errors.forbidden(class, ONLY_LOAD_BALANCER) }
}

fn traffic_policies(spec: &Field<'_>, errors: &mut Errors) {
    let kind = spec.get("type").text();
    let external = spec.get("externalTrafficPolicy");
    let reachable = matches!(kind, "LoadBalancer" | "NodePort") || (kind == "ClusterIP" && !spec.get("externalIPs").is_empty());
    if reachable {
        errors.required_one_of(&external, &["Cluster", "Local"]);
    } else if !external.text().is_empty() {
        errors.invalid(&external, "may only be set for externally-accessible services");
    }
    let health = spec.get("healthCheckNodePort");
    if needs_health_check(spec) {
        if health.number() == 0 {
            errors.required(&health, "");
        } else {
            errors.in_range(&health, 1, 65535);
        }
    } else if health.number() != 0 {
        errors.invalid(&health, "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'");
    }
    let internal = spec.get("internalTrafficPolicy");
    if internal.is_set() {
        errors.one_of(&internal, &["Cluster", "Local"]);
    } else if matches!(kind, "ClusterIP" | "LoadBalancer" | "NodePort") {
        errors.required(&internal, "");
    }
    let distribution = spec.get("trafficDistribution");
    if distribution.is_set() {
        errors.one_of(&distribution, &["PreferClose", "PreferSameNode", "PreferSameZone"]);
    }
}

fn needs_health_check(spec: &Field<'_>) -> bool {
    spec.get("type").text() == "LoadBalancer" && spec.get("externalTrafficPolicy").text() == "Local"
}

pub(super) fn update(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    let (new_spec, old_spec) = (new.get("spec"), old.get("spec"));
    cluster_ip::may_change(&new_spec, &old_spec, errors);
    let (class, before) = (new_spec.get("loadBalancerClass"), old_spec.get("loadBalancerClass"));
    let both = [&new_spec, &old_spec].iter().all(|spec| spec.get("type").text() == "LoadBalancer");
    if both && class.value() != before.value() {
        let shown = if class.is_set() { class.value().clone() } else { Value::from("null") };
        errors.invalid_as(class.path(), shown, "may not change once set");
    }
    load_balancer_class(&class, new_spec.get("type").text() == "LoadBalancer", errors);
    let [health, health_before] = [&new_spec, &old_spec].map(|spec| spec.get("healthCheckNodePort"));
    if needs_health_check(&new_spec) && needs_health_check(&old_spec) && health.number() != health_before.number() {
        errors.forbidden(&health, "field is immutable");
    }
    service(new, errors);
}

pub(super) fn status(new: &Field<'_>, errors: &mut Errors) {
    let ingress = new.get("status").get("loadBalancer").get("ingress");
    if new.get("spec").get("type").text() != "LoadBalancer" && !ingress.is_empty() {
        return errors.forbidden(&ingress, "may only be used when `spec.type` is 'LoadBalancer'");
    }
    for point in ingress.items() {
        let (ip, mode, hostname) = (point.get("ip"), point.get("ipMode"), point.get("hostname"));
        if !ip.text().is_empty() {
            address::valid_ip(&ip, errors);
        }
        match (mode.is_set(), ip.text().is_empty()) {
            (false, false) => errors.required(&mode, "must be specified when `ip` is set"),
            (true, true) => errors.forbidden(&mode, "may not be specified when `ip` is not set"),
            (true, false) => errors.one_of(&mode, &["Proxy", "VIP"]),
            (false, true) => {}
        }
        errors.optional_format(&hostname, format::dns1123_subdomain);
        if address::parse(hostname.text()).is_some() {
            errors.invalid(&hostname, "must be a DNS name, not an IP address");
        }
    }
}
