//! What a Service keeps on an update: addresses and ports that were allocated and that the client left out.

use serde_json::Value;

/// Fills in the cluster addresses, node ports and health check port of the old Service where the new one names none and still
/// needs them, so that a client may replace a Service without knowing what was allocated.
pub(super) fn keep_allocated(new: &mut Value, old: &Value) {
    if !new["spec"].is_object() {
        return;
    }
    if needs_cluster_ip(new) && needs_cluster_ip(old) {
        for key in ["clusterIP", "clusterIPs"] {
            if is_unset(&new["spec"][key]) && !is_unset(&old["spec"][key]) && same_primary(new, old) {
                new["spec"][key] = old["spec"][key].clone();
            }
        }
    }
    if needs_node_port(new) && needs_node_port(old) {
        keep_node_ports(new, old);
    }
    if needs_health_check_port(new) && needs_health_check_port(old) && is_unset(&new["spec"]["healthCheckNodePort"]) {
        super::prepare::carry_over(&mut new["spec"], &old["spec"], "healthCheckNodePort");
    }
}

/// A node port belongs to a port number and protocol, whatever its name or place in the list.
fn keep_node_ports(new: &mut Value, old: &Value) {
    let Some(ports) = new.pointer_mut("/spec/ports").and_then(Value::as_array_mut) else { return };
    let taken: Vec<Value> = ports.iter().map(|port| port["nodePort"].clone()).filter(|port| !is_unset(port)).collect();
    let before = old["spec"]["ports"].as_array().map_or(&[][..], Vec::as_slice);
    for port in ports.iter_mut().filter(|port| is_unset(&port["nodePort"])) {
        let same = |other: &&Value| other["port"] == port["port"] && protocol(other) == protocol(port);
        let Some(allocated) = before.iter().find(same).map(|other| &other["nodePort"]) else { continue };
        if !is_unset(allocated) && !taken.contains(allocated) {
            super::prepare::set(port, "nodePort", allocated.clone());
        }
    }
}

fn protocol(port: &Value) -> &str {
    port["protocol"].as_str().unwrap_or("TCP")
}

fn service_type(service: &Value) -> &str {
    service["spec"]["type"].as_str().unwrap_or("ClusterIP")
}

fn needs_cluster_ip(service: &Value) -> bool {
    matches!(service_type(service), "ClusterIP" | "NodePort" | "LoadBalancer")
}

fn needs_node_port(service: &Value) -> bool {
    match service_type(service) {
        "NodePort" => true,
        "LoadBalancer" => service["spec"]["allocateLoadBalancerNodePorts"].as_bool().unwrap_or(true),
        _ => false,
    }
}

fn needs_health_check_port(service: &Value) -> bool {
    service_type(service) == "LoadBalancer" && service["spec"]["externalTrafficPolicy"] == "Local"
}

/// A client that asks for another address must not get the old list of addresses beside it.
fn same_primary(new: &Value, old: &Value) -> bool {
    let primary = |service: &Value| match &service["spec"]["clusterIP"] {
        ip if is_unset(ip) => service["spec"]["clusterIPs"][0].clone(),
        ip => ip.clone(),
    };
    is_unset(&primary(new)) || primary(new) == primary(old)
}

fn is_unset(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Number(number) => number.as_i64() == Some(0),
        _ => false,
    }
}
