//! Endpoints of a Service as its pods make them, without waiting for anybody to write them down.
//!
//! A controller decides to take an old pod away because it sees a new one ready. Both facts are of pods, and one watch tells them in
//! the order in which they came about: who routes by pods has routed to the new one when it hears that the old one must go. Slices
//! come by another watch, later, one at a time; routing by them would leave a moment in which neither pod is sent to. And a Service
//! whose selector changes moves to its new pods at one instant, however many slices that will take.

use std::sync::Arc;

use k8s_openapi::api::{
    core::v1::{Pod, Service},
    discovery::v1::EndpointSlice,
};

use crate::endpoints::{self, Action, LABEL_MANAGED_BY, MANAGED_BY, Snapshot};

/// The slices to route a Service by: those that its pods make, and those among `written` that others than our controller wrote.
/// A Service without a selector has only written ones.
#[must_use]
pub fn slices_of<'a>(
    service: &Service,
    pods: &[Arc<Pod>],
    written: impl IntoIterator<Item = &'a Arc<EndpointSlice>>,
) -> Vec<Arc<EndpointSlice>> {
    let planned = endpoints::plan_slices(&Snapshot { service, pods, slices: &[] });
    let made: Vec<Arc<EndpointSlice>> = planned
        .steps
        .into_iter()
        .filter_map(|step| match step.action {
            Action::Create(slice) => Some(Arc::from(slice)),
            Action::Update(_) | Action::Delete(_) => None,
        })
        .collect();
    // At least an empty one is made of whatever has a selector.
    let has_pods = !made.is_empty();
    let written = written.into_iter().filter(|slice| !(has_pods && is_controllers(slice))).cloned();
    made.into_iter().chain(written).collect()
}

fn is_controllers(slice: &EndpointSlice) -> bool {
    let managed_by = slice.metadata.labels.as_ref().and_then(|labels| labels.get(LABEL_MANAGED_BY));
    managed_by.is_some_and(|manager| manager == MANAGED_BY)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service(selector: &serde_json::Value) -> Service {
        serde_json::from_value(json!({
            "metadata": { "namespace": "shop", "name": "web" },
            "spec": { "clusterIP": "10.96.0.5", "selector": selector, "ports": [{ "port": 80, "targetPort": "http" }] },
        }))
        .unwrap()
    }

    fn pod(name: &str, colour: &str, number: u8, port: u16, ready: &str) -> Arc<Pod> {
        let pod = json!({
            "metadata": { "namespace": "shop", "name": name, "uid": name, "labels": { "colour": colour } },
            "spec": { "containers": [{ "name": "main", "ports": [{ "name": "http", "containerPort": port }] }] },
            "status": {
                "phase": "Running",
                "podIP": format!("10.244.0.{number}"),
                "conditions": [{ "type": "Ready", "status": ready }],
            },
        });
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn written(name: &str, managed_by: &str) -> Arc<EndpointSlice> {
        let slice = json!({
            "metadata": { "name": name, "labels": { LABEL_MANAGED_BY: managed_by } },
            "addressType": "IPv4",
            "endpoints": [{ "addresses": ["10.244.0.99"] }],
        });
        Arc::new(serde_json::from_value(slice).unwrap())
    }

    fn show(slices: &[Arc<EndpointSlice>]) -> Vec<String> {
        let endpoints = slices.iter().flat_map(|slice| {
            let port = slice.ports.iter().flatten().find_map(|port| port.port).unwrap_or_default();
            slice.endpoints.iter().flatten().map(move |endpoint| {
                let ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true);
                format!("{}:{port}{}", endpoint.addresses[0], if ready { "" } else { " unready" })
            })
        });
        let mut endpoints: Vec<_> = endpoints.collect();
        endpoints.sort();
        endpoints
    }

    #[test]
    fn pods_are_endpoints_before_any_slice_says_so() {
        let pods = [pod("a", "blue", 2, 8080, "True"), pod("b", "green", 3, 9090, "True"), pod("c", "green", 4, 8081, "False")];
        let behind = written("web-1", MANAGED_BY);
        let of = |colour| show(&slices_of(&service(&json!({ "colour": colour })), &pods, [&behind]));
        assert_eq!(of("blue"), ["10.244.0.2:8080"]);
        assert_eq!(of("green"), ["10.244.0.3:9090", "10.244.0.4:8081 unready"]);
        assert_eq!(of("red"), [""; 0], "a slice that is behind is not believed");
    }

    #[test]
    fn slices_of_others_count_too() {
        let pods = [pod("a", "blue", 2, 8080, "True")];
        let (own, other) = (written("web-1", MANAGED_BY), written("web-2", "somebody"));
        assert_eq!(
            show(&slices_of(&service(&json!({ "colour": "blue" })), &pods, [&own, &other])),
            ["10.244.0.2:8080", "10.244.0.99:0"]
        );
        assert_eq!(show(&slices_of(&service(&json!(null)), &pods, [&own])), ["10.244.0.99:0"]);
    }
}
