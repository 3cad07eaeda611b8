//! What one object takes.

use serde_json::Value;

use super::Amounts;
use crate::{
    kind::Kind,
    pod,
    quantity::{Format, Quantity},
};

const COMPUTE: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
const OF_CLASS: &str = ".storageclass.storage.k8s.io/";

fn one() -> Quantity {
    Quantity::from_units(1, Format::DecimalSi)
}

fn number(count: usize) -> Quantity {
    Quantity::from_units(i64::try_from(count).unwrap_or(i64::MAX), Format::DecimalSi)
}

/// The name under which objects of a kind are counted.
fn counted_as(kind: &Kind) -> String {
    format!("count/{}", kind.resource())
}

/// Kinds that were counted before every kind could be.
fn older_name(kind: &Kind) -> Option<&'static str> {
    const OLDER: [&str; 7] =
        ["configmaps", "persistentvolumeclaims", "pods", "replicationcontrollers", "resourcequotas", "secrets", "services"];
    OLDER.into_iter().find(|name| kind.group.is_empty() && *name == kind.plural)
}

/// What an object of this kind takes.
pub fn usage(kind: &Kind, object: &Value) -> Amounts {
    let mut usage = Amounts::from([(counted_as(kind), one())]);
    match (kind.group, kind.plural) {
        ("", "pods") if !pod::is_terminal(object) => usage.extend(usage_of_pod(&object["spec"])),
        ("", "services") => usage.extend(usage_of_service(&object["spec"])),
        ("", "persistentvolumeclaims") => usage.extend(usage_of_claim(object)),
        _ => {}
    }
    if let Some(name) = older_name(kind).filter(|name| *name != "pods") {
        usage.insert(name.to_owned(), one());
    }
    usage
}

/// What so many objects of this kind take that are only counted.
pub fn usage_of(kind: &Kind, count: usize) -> Amounts {
    let mut usage = Amounts::from([(counted_as(kind), number(count))]);
    usage.extend(older_name(kind).map(|name| (name.to_owned(), number(count))));
    usage
}

fn usage_of_pod(spec: &Value) -> Amounts {
    let (requests, limits) = (pod::total(spec, "requests"), pod::total(spec, "limits"));
    let mut usage = compute(&requests, &limits);
    usage.insert("pods".to_owned(), one());
    usage
}

/// Resources under the names that quotas have for them.
pub(super) fn compute(requests: &Amounts, limits: &Amounts) -> Amounts {
    let mut usage = Amounts::new();
    for (name, amount) in requests {
        if COMPUTE.contains(&name.as_str()) || name.starts_with("hugepages-") {
            usage.insert(name.clone(), *amount);
        } else if !name.contains('/') {
            continue;
        }
        usage.insert(format!("requests.{name}"), *amount);
    }
    let limited = limits.iter().filter(|(name, _)| COMPUTE.contains(&name.as_str()));
    usage.extend(limited.map(|(name, amount)| (format!("limits.{name}"), *amount)));
    usage
}

fn usage_of_service(spec: &Value) -> Amounts {
    let ports = || spec["ports"].as_array().into_iter().flatten();
    let (balancers, node_ports) = match spec["type"].as_str() {
        Some("NodePort") => (0, ports().count()),
        Some("LoadBalancer") if spec["allocateLoadBalancerNodePorts"] == false => {
            (1, ports().filter(|port| port["nodePort"].as_i64().is_some_and(|number| number != 0)).count())
        }
        Some("LoadBalancer") => (1, ports().count()),
        _ => (0, 0),
    };
    Amounts::from([
        ("services.loadbalancers".to_owned(), number(balancers)),
        ("services.nodeports".to_owned(), number(node_ports)),
    ])
}

fn usage_of_claim(claim: &Value) -> Amounts {
    const LEGACY: &str = "volume.beta.kubernetes.io/storage-class";
    let class = claim["metadata"]["annotations"][LEGACY].as_str().or_else(|| claim["spec"]["storageClassName"].as_str());
    let class = class.filter(|class| !class.is_empty());
    let mut usage = Amounts::new();
    if let Some(class) = class {
        usage.insert(format!("{class}{OF_CLASS}persistentvolumeclaims"), one());
    }
    if let Some(size) = pod::any_quantity(&claim["spec"]["resources"]["requests"]["storage"]) {
        usage.insert("requests.storage".to_owned(), size);
        if let Some(class) = class {
            usage.insert(format!("{class}{OF_CLASS}requests.storage"), size);
        }
    }
    usage
}

/// Whether a quota on this resource counts objects of this kind.
pub(super) fn concerns(kind: &Kind, resource: &str) -> bool {
    if resource == counted_as(kind) || older_name(kind) == Some(resource) {
        return true;
    }
    match (kind.group, kind.plural) {
        ("", "pods") => {
            let bare = ["requests.", "limits."].iter().find_map(|prefix| resource.strip_prefix(prefix));
            let of_storage = resource.contains(OF_CLASS) || resource == "requests.storage";
            COMPUTE.contains(&bare.unwrap_or(resource))
                || bare.unwrap_or(resource).starts_with("hugepages-")
                || bare.is_some_and(|bare| resource.starts_with("requests.") && bare.contains('/')) && !of_storage
        }
        ("", "services") => matches!(resource, "services.loadbalancers" | "services.nodeports"),
        ("", "persistentvolumeclaims") => resource == "requests.storage" || resource.contains(OF_CLASS),
        _ => false,
    }
}
