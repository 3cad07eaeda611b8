//! Endpoints, the older form: one object a Service, for clients that have not moved on.

use std::{collections::BTreeMap, net::IpAddr};

use k8s_openapi::{
    api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Pod, Service},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{
    ANNOTATION_TRIGGER_TIME, ENDPOINTS_MANAGED_BY, LABEL_ENDPOINTS_MANAGED_BY, LABEL_HEADLESS,
    address::{self, Backend, Port},
    is_headless, publishes_not_ready, selector,
};

/// Addresses an object holds at most; what is beyond is left out and an annotation says so. Upstream's figure.
const MAX_ADDRESSES: usize = 1000;
const ANNOTATION_OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";

/// What becomes of the Endpoints of a Service.
#[derive(Debug, Clone, PartialEq)]
pub enum EndpointsPlan {
    /// They are as they should be, or somebody else's.
    Keep,
    /// Make them.
    Create(Box<Endpoints>),
    /// Replace them.
    Update(Box<Endpoints>),
}

/// Decides, from the Service, the pods of its namespace, and the Endpoints of its name if there are any.
pub fn plan(service: &Service, pods: &[std::sync::Arc<Pod>], present: Option<&Endpoints>) -> EndpointsPlan {
    if selector(service).is_none() || service.metadata.deletion_timestamp.is_some() {
        return EndpointsPlan::Keep;
    }
    let mut backends = address::backends(service, pods);
    // Its readers know nothing of pods on their way out.
    backends.retain(|backend| !backend.terminating || publishes_not_ready(service));
    let truncated = backends.len() > MAX_ADDRESSES;
    let trigger_time = address::trigger_time(service, &backends);
    if truncated {
        backends.sort_by_key(|backend| !backend.ready);
        backends.truncate(MAX_ADDRESSES);
    }
    let subsets = Some(subsets(service, &backends)).filter(|subsets| !subsets.is_empty());
    let labels = labels(service);
    if let Some(present) = present
        && present.subsets.as_ref().filter(|subsets| !subsets.is_empty()) == subsets.as_ref()
        && present.metadata.labels.as_ref() == Some(&labels)
    {
        return EndpointsPlan::Keep;
    }
    let mut changed = present.cloned().unwrap_or_else(|| Endpoints {
        metadata: ObjectMeta {
            name: service.metadata.name.clone(),
            namespace: service.metadata.namespace.clone(),
            ..ObjectMeta::default()
        },
        subsets: None,
    });
    changed.subsets = subsets;
    changed.metadata.labels = Some(labels);
    let annotations = changed.metadata.annotations.get_or_insert_default();
    annotations.remove(ANNOTATION_OVER_CAPACITY);
    if truncated {
        annotations.insert(ANNOTATION_OVER_CAPACITY.to_owned(), "truncated".to_owned());
    }
    annotations.extend(trigger_time.map(|time| (ANNOTATION_TRIGGER_TIME.to_owned(), time)));
    if present.is_some() { EndpointsPlan::Update(Box::new(changed)) } else { EndpointsPlan::Create(Box::new(changed)) }
}

fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(LABEL_HEADLESS);
    if is_headless(service) {
        labels.insert(LABEL_HEADLESS.to_owned(), String::new());
    }
    labels.insert(LABEL_ENDPOINTS_MANAGED_BY.to_owned(), ENDPOINTS_MANAGED_BY.to_owned());
    labels
}

/// Pods with the same ports share a subset.
fn subsets(service: &Service, backends: &[Backend]) -> Vec<EndpointSubset> {
    let ipv6 = service.spec.as_ref().and_then(|spec| spec.ip_families.as_ref()?.first()).is_some_and(|family| family == "IPv6");
    let mut groups: BTreeMap<Vec<Port>, (Vec<EndpointAddress>, Vec<EndpointAddress>)> = BTreeMap::new();
    for backend in backends {
        let Some(address) = backend.addresses.iter().find(|address| address.is_ipv6() == ipv6) else { continue };
        if backend.ports.is_empty() && !is_headless(service) {
            continue;
        }
        let mut ports = backend.ports.clone();
        ports.sort();
        let (ready, not_ready) = groups.entry(ports).or_default();
        let address = EndpointAddress {
            hostname: backend.hostname(service),
            ip: address.to_string(),
            node_name: backend.node_name(),
            target_ref: Some(backend.target()),
        };
        if backend.ready { ready.push(address) } else { not_ready.push(address) }
    }
    groups.into_iter().map(|(ports, (ready, not_ready))| subset(&ports, ready, not_ready)).collect()
}

fn subset(ports: &[Port], ready: Vec<EndpointAddress>, not_ready: Vec<EndpointAddress>) -> EndpointSubset {
    let port = |port: &Port| EndpointPort {
        app_protocol: port.app_protocol.clone(),
        name: Some(port.name.clone()).filter(|name| !name.is_empty()),
        port: port.port,
        protocol: Some(port.protocol.clone()),
    };
    let sorted = |mut addresses: Vec<EndpointAddress>| {
        addresses.sort_by_key(|address| address.ip.parse::<IpAddr>().ok());
        Some(addresses).filter(|addresses| !addresses.is_empty())
    };
    EndpointSubset {
        addresses: sorted(ready),
        not_ready_addresses: sorted(not_ready),
        ports: Some(ports.iter().map(port).collect::<Vec<_>>()).filter(|ports| !ports.is_empty()),
    }
}
