//! What a Service keeps on an update: addresses and ports that were allocated and that the client left out. And what it gives
//! up when its type changes.

use serde_json::{Map, Value};

use super::prepare::carry_over;

/// Settles the fields of a changed Service that depend on each other, as upstream does.
///
/// Where the new Service names no cluster address, node port or health check port and still needs them, it keeps the old ones:
/// a client may replace a Service without knowing what was allocated. Where it no longer needs them and says what the old one
/// said, they go: a client may change the type alone. Whatever else it asks for is validation's to refuse.
pub(super) fn settle(new: &mut Value, old: &Value) {
    if !new["spec"].is_object() {
        return;
    }
    keep_needed(new, old);
    drop_unneeded(new, old);
}

fn keep_needed(new: &mut Value, old: &Value) {
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
        carry_over(&mut new["spec"], &old["spec"], "healthCheckNodePort");
    }
}

/// A field goes if the old type needed it, the new one does not, and the client did not touch it.
fn drop_unneeded(new: &mut Value, old: &Value) {
    let ends = |needs: fn(&Value) -> bool| needs(old) && !needs(new);
    let is_balanced = |service: &Value| service_type(service) == "LoadBalancer";
    let (cluster_ip, node_port) = (ends(needs_cluster_ip), ends(needs_node_port));
    let (balancer, health_check) = (ends(is_balanced), ends(needs_health_check_port));

    let ports = |service: &Value| -> Vec<Value> {
        let ports = service["spec"]["ports"].as_array().into_iter().flatten();
        ports.map(|port| port["nodePort"].clone()).filter(|port| !is_unset(port)).collect()
    };
    let no_new_ports = ports(new).iter().all(|port| ports(old).contains(port));
    let no_longer_balanced = !is_balanced(new);

    let Some(spec) = new.get_mut("spec").and_then(Value::as_object_mut) else { return };
    if cluster_ip {
        if ["clusterIP", "clusterIPs"].iter().all(|key| untouched(spec, old, key)) {
            spec.remove("clusterIP");
            spec.remove("clusterIPs");
        }
        drop_untouched(spec, old, &["ipFamilies", "ipFamilyPolicy"]);
    }
    if node_port {
        drop_untouched(spec, old, &["externalTrafficPolicy"]);
        if no_new_ports {
            let ports = spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten();
            ports.filter_map(Value::as_object_mut).for_each(|port| drop(port.remove("nodePort")));
        }
    }
    if health_check {
        drop_untouched(spec, old, &["healthCheckNodePort"]);
    }
    if balancer {
        drop_untouched(spec, old, &["allocateLoadBalancerNodePorts", "loadBalancerClass"]);
    }
    if no_longer_balanced && let Some(status) = new.get_mut("status").and_then(Value::as_object_mut) {
        status.insert("loadBalancer".to_owned(), Map::new().into());
    }
}

fn drop_untouched(spec: &mut Map<String, Value>, old: &Value, keys: &[&str]) {
    for key in keys {
        if untouched(spec, old, key) {
            spec.remove(*key);
        }
    }
}

fn untouched(spec: &Map<String, Value>, old: &Value, key: &str) -> bool {
    spec.get(key).unwrap_or(&Value::Null) == &old["spec"][key]
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
    matches!(service_type(service), "NodePort" | "LoadBalancer")
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
