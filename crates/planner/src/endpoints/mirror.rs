//! Endpoints that a person or a program wrote for a Service without a selector, as EndpointSlices: routers read nothing else.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use k8s_openapi::{
    api::{
        core::v1::{EndpointAddress, EndpointSubset, Endpoints, Service},
        discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use windlass_api::names::LABEL_SERVICE_NAME;

use super::{
    ANNOTATION_TRIGGER_TIME, LABEL_ENDPOINTS_MANAGED_BY, LABEL_MANAGED_BY,
    slices::{Action, MAX_ENDPOINTS_A_SLICE},
};
use crate::owner;

/// Value of [`LABEL_MANAGED_BY`] on slices that mirror Endpoints.
pub const MIRRORED_BY: &str = "endpointslicemirroring-controller.k8s.io";
/// Label by which whoever writes Endpoints says that it writes slices too.
const LABEL_SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
/// Annotation of Endpoints that are a lock and lead nowhere.
const ANNOTATION_LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
const ANNOTATION_LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Addresses of one subset that are mirrored, as upstream.
const MAX_ADDRESSES_A_SUBSET: usize = 1000;

/// What becomes of the mirrors of a Service's Endpoints, creations first.
#[must_use]
pub fn plan(service: Option<&Service>, endpoints: Option<&Endpoints>, slices: &[Arc<EndpointSlice>]) -> Vec<Action> {
    let is_mirror = |slice: &&Arc<EndpointSlice>| {
        let labels = slice.metadata.labels.as_ref();
        labels.and_then(|labels| labels.get(LABEL_MANAGED_BY)).is_some_and(|by| by == MIRRORED_BY)
    };
    let mut present: Vec<&Arc<EndpointSlice>> = slices.iter().filter(is_mirror).collect();
    let wanted = match (service, endpoints) {
        (Some(service), Some(endpoints)) if has_mirrors(service, endpoints) => mirrors(service, endpoints),
        _ => Vec::new(),
    };
    let mut actions = Vec::new();
    for mut slice in wanted {
        let found = present.iter().position(|old| old.address_type == slice.address_type && old.ports == slice.ports);
        let Some(old) = found.map(|index| present.remove(index)) else {
            actions.push(Action::Create(Box::new(slice)));
            continue;
        };
        let same = old.endpoints == slice.endpoints
            && old.metadata.labels == slice.metadata.labels
            && old.metadata.annotations.clone().unwrap_or_default() == slice.metadata.annotations.clone().unwrap_or_default();
        if !same {
            let (labels, annotations) = (slice.metadata.labels.take(), slice.metadata.annotations.take());
            slice.metadata = ObjectMeta { labels, annotations, ..old.metadata.clone() };
            actions.push(Action::Update(Box::new(slice)));
        }
    }
    actions.sort_by_key(|action| matches!(action, Action::Update(_)));
    actions.extend(present.into_iter().map(|slice| Action::Delete(Arc::clone(slice))));
    actions
}

fn has_mirrors(service: &Service, endpoints: &Endpoints) -> bool {
    let has_selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref()).is_some_and(|labels| !labels.is_empty());
    let label = |name| endpoints.metadata.labels.as_ref().and_then(|labels| labels.get(name));
    let is_lock = endpoints.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(ANNOTATION_LEADER));
    !has_selector && !is_lock && label(LABEL_SKIP).is_none_or(|skip| skip != "true")
}

/// Addresses that share their ports.
type Group = (Vec<EndpointPort>, Vec<Endpoint>);

fn mirrors(service: &Service, endpoints: &Endpoints) -> Vec<EndpointSlice> {
    // By address family and ports, in an order that stays.
    let mut groups: BTreeMap<(&str, String), Group> = BTreeMap::new();
    for subset in endpoints.subsets.iter().flatten() {
        let ports = ports(subset);
        let order = format!("{ports:?}");
        let addresses = |addresses: &Option<Vec<EndpointAddress>>, ready| {
            addresses.iter().flatten().map(|address| (address.clone(), ready)).collect::<Vec<_>>()
        };
        let all = [addresses(&subset.addresses, true), addresses(&subset.not_ready_addresses, false)].concat();
        for (address, ready) in all.into_iter().take(MAX_ADDRESSES_A_SUBSET) {
            let address_type = match address.ip.parse::<IpAddr>() {
                Ok(IpAddr::V4(_)) => "IPv4",
                Ok(IpAddr::V6(_)) => "IPv6",
                Err(_) => continue,
            };
            let group = groups.entry((address_type, order.clone())).or_insert_with(|| (ports.clone(), Vec::new()));
            group.1.push(endpoint(address, ready));
        }
    }
    let slices = groups.into_iter().flat_map(|((address_type, _), (ports, all))| {
        let chunks: Vec<Vec<Endpoint>> = all.chunks(MAX_ENDPOINTS_A_SLICE).map(<[_]>::to_vec).collect();
        chunks.into_iter().map(move |endpoints| (address_type.to_owned(), ports.clone(), endpoints))
    });
    let metadata = metadata(service, endpoints);
    let slice = |(address_type, ports, endpoints)| EndpointSlice {
        metadata: metadata.clone(),
        address_type,
        endpoints: Some(endpoints),
        ports: Some(ports),
    };
    slices.map(slice).collect()
}

fn ports(subset: &EndpointSubset) -> Vec<EndpointPort> {
    let port = |port: &k8s_openapi::api::core::v1::EndpointPort| EndpointPort {
        name: Some(port.name.clone().unwrap_or_default()),
        port: Some(port.port),
        protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
        app_protocol: port.app_protocol.clone(),
    };
    subset.ports.iter().flatten().map(port).collect()
}

fn endpoint(address: EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip],
        conditions: Some(EndpointConditions { ready: Some(ready), ..EndpointConditions::default() }),
        hostname: address.hostname.filter(|hostname| !hostname.is_empty()),
        node_name: address.node_name,
        target_ref: address.target_ref,
        ..Endpoint::default()
    }
}

fn metadata(service: &Service, endpoints: &Endpoints) -> ObjectMeta {
    let name = owner::name(&endpoints.metadata);
    let mut labels = endpoints.metadata.labels.clone().unwrap_or_default();
    labels.remove(LABEL_ENDPOINTS_MANAGED_BY);
    labels.insert(LABEL_SERVICE_NAME.to_owned(), owner::name(&service.metadata).to_owned());
    labels.insert(LABEL_MANAGED_BY.to_owned(), MIRRORED_BY.to_owned());
    let mut annotations = endpoints.metadata.annotations.clone().unwrap_or_default();
    annotations.retain(|key, _| key != ANNOTATION_LAST_APPLIED && key != ANNOTATION_TRIGGER_TIME);
    ObjectMeta {
        generate_name: Some(format!("{name}-")),
        namespace: endpoints.metadata.namespace.clone(),
        labels: Some(labels),
        annotations: (!annotations.is_empty()).then_some(annotations),
        owner_references: Some(vec![owner::controller_reference::<Endpoints>(&endpoints.metadata)]),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn service(spec: &Value) -> Service {
        serde_json::from_value(json!({ "metadata": { "namespace": "shop", "name": "db" }, "spec": spec })).unwrap()
    }

    fn endpoints(labels: &Value) -> Endpoints {
        serde_json::from_value(json!({
            "metadata": { "namespace": "shop", "name": "db", "uid": "e", "labels": labels },
            "subsets": [{
                "addresses": [{ "ip": "192.0.2.1" }, { "ip": "2001:db8::1" }],
                "notReadyAddresses": [{ "ip": "192.0.2.2" }],
                "ports": [{ "port": 5432 }],
            }],
        }))
        .unwrap()
    }

    fn show(actions: &[Action]) -> Vec<String> {
        let endpoints = |slice: &EndpointSlice| {
            let endpoint = |endpoint: &Endpoint| {
                let ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) == Some(true);
                format!("{}{}", endpoint.addresses[0], if ready { "" } else { "?" })
            };
            slice.endpoints.iter().flatten().map(endpoint).collect::<Vec<_>>().join(" ")
        };
        let show = |action: &Action| match action {
            Action::Create(slice) => format!("create {} {}", slice.address_type, endpoints(slice)),
            Action::Update(slice) => format!("update {} {}", slice.address_type, endpoints(slice)),
            Action::Delete(slice) => format!("delete {} {}", slice.address_type, endpoints(slice)),
        };
        actions.iter().map(show).collect()
    }

    fn made(actions: &[Action]) -> Vec<Arc<EndpointSlice>> {
        let made = actions.iter().filter_map(|action| match action {
            Action::Create(slice) => Some(Arc::new(EndpointSlice::clone(slice))),
            _ => None,
        });
        made.collect()
    }

    #[test]
    fn endpoints_of_others_are_mirrored_and_followed() {
        let (service, mut object) = (service(&json!({})), endpoints(&json!({ "app": "db" })));
        let actions = plan(Some(&service), Some(&object), &[]);
        assert_eq!(show(&actions), ["create IPv4 192.0.2.1 192.0.2.2?", "create IPv6 2001:db8::1"]);
        let slices = made(&actions);
        let labels = slices[0].metadata.labels.clone().unwrap();
        assert_eq!((labels["app"].as_str(), labels[LABEL_MANAGED_BY].as_str()), ("db", MIRRORED_BY));
        assert_eq!(plan(Some(&service), Some(&object), &slices), []);
        object.subsets.as_mut().unwrap()[0].addresses.as_mut().unwrap().pop();
        object.subsets.as_mut().unwrap()[0].not_ready_addresses = None;
        let actions = plan(Some(&service), Some(&object), &slices);
        assert_eq!(show(&actions), ["update IPv4 192.0.2.1", "delete IPv6 2001:db8::1"]);
        assert_eq!(show(&plan(Some(&service), None, &slices)).len(), 2);
    }

    #[test]
    fn some_are_not_mirrored() {
        let own = service(&json!({ "selector": { "app": "db" } }));
        assert_eq!(plan(Some(&own), Some(&endpoints(&json!({}))), &[]), []);
        assert_eq!(plan(None, Some(&endpoints(&json!({}))), &[]), []);
        let skipped = endpoints(&json!({ LABEL_SKIP: "true" }));
        assert_eq!(plan(Some(&service(&json!({}))), Some(&skipped), &[]), []);
    }
}
