//! Which endpoints of a Service port may be sent to: the ready ones, or else, for a while, those that still serve while they leave.

use std::{collections::BTreeSet, net::Ipv4Addr};

use jiff::Timestamp;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use super::{Backend, Departure, Departures, Transport};

/// The endpoints of one port that may be sent to now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Selection {
    pub(super) backends: BTreeSet<Backend>,
    /// When this selection ends by itself: the first endpoint in it stops being a fallback.
    pub(super) until: Option<Timestamp>,
}

/// Selects from all slices of a Service, as upstream's proxies do, but for two things: a pod that is being deleted is not
/// ready, whatever a slice says; and it is a fallback for a bounded time, unless it was not ready then and a Service sends to it all
/// the same (`publishNotReadyAddresses`). That one is a fallback for as long as it is there, and does not wait for it to end.
///
/// `only_node` restricts to endpoints on that node (traffic policy `Local`).
/// See <https://github.com/kubernetes/kubernetes/blob/v1.36.0/pkg/proxy/topology.go>.
pub(super) fn select(
    slices: &[&EndpointSlice],
    port_name: &str,
    transport: Transport,
    only_node: Option<&str>,
    departures: &Departures,
    now: Timestamp,
) -> Selection {
    let mut ready = BTreeSet::new();
    let mut leaving = Selection::default();
    for slice in slices.iter().filter(|slice| slice.address_type == "IPv4") {
        let Some(port) = port(slice, port_name, transport) else { continue };
        for endpoint in slice.endpoints.iter().flatten() {
            if only_node.is_some_and(|node| endpoint.node_name.as_deref() != Some(node)) {
                continue;
            }
            let Some(address) = endpoint.addresses.first().and_then(|address| address.parse().ok()) else { continue };
            let pod = pod_of(endpoint, address, departures);
            let state = state(endpoint, pod, departures, now);
            let backend = Backend { address, port, pod: pod.map(str::to_owned) };
            match state {
                State::Ready => {
                    ready.insert(backend);
                }
                State::Fallback { until } => {
                    leaving.backends.insert(backend);
                    leaving.until = [leaving.until, until].into_iter().flatten().min();
                }
                // Of no pod, so that it is told that it is unrouted, and goes its way, while it is sent to.
                State::Unready => drop(leaving.backends.insert(Backend { pod: None, ..backend })),
                State::Out => {}
            }
        }
    }
    if ready.is_empty() { leaving } else { Selection { backends: ready, until: None } }
}

enum State {
    Ready,
    Fallback {
        until: Option<Timestamp>,
    },
    /// A fallback that was not ready from the start.
    Unready,
    Out,
}

fn state(endpoint: &Endpoint, pod: Option<&str>, departures: &Departures, now: Timestamp) -> State {
    let conditions = endpoint.conditions.clone().unwrap_or_default();
    let ready = conditions.ready.unwrap_or(true);
    // A slice of an API server that knows no `serving` says by `ready` what there is to say.
    let serving = conditions.serving.unwrap_or(ready);
    let terminating = conditions.terminating.unwrap_or(false);
    match pod.and_then(|uid| departures.of(uid)) {
        Some(Departure::Leaving { .. } | Departure::Gone)
            if ready && terminating && pod.is_some_and(|uid| departures.left_unready(uid)) =>
        {
            State::Unready
        }
        Some(Departure::Gone | Departure::Paused { .. }) => State::Out,
        Some(Departure::Leaving { until }) if serving && now < until => State::Fallback { until: Some(until) },
        Some(Departure::Leaving { .. }) => State::Out,
        None if ready => State::Ready,
        // The slice is ahead of what is known of its pod, or there is no pod: as upstream.
        None if serving && terminating => State::Fallback { until: None },
        None => State::Out,
    }
}

fn pod_of<'a>(endpoint: &'a Endpoint, address: Ipv4Addr, departures: &'a Departures) -> Option<&'a str> {
    match &endpoint.target_ref {
        Some(target) if target.kind.as_deref() == Some("Pod") => target.uid.as_deref(),
        _ => departures.owner(address),
    }
}

fn port(slice: &EndpointSlice, name: &str, transport: Transport) -> Option<u16> {
    let port = slice.ports.iter().flatten().find(|port| {
        port.name.as_deref().unwrap_or_default() == name && Transport::of(port.protocol.as_deref()) == Some(transport)
    })?;
    u16::try_from(port.port?).ok()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::{Value, json};

    use super::*;
    use crate::proxy::FALLBACK;

    const START: Timestamp = Timestamp::UNIX_EPOCH;

    fn pod(uid: &str, ready: &str, terminating: bool) -> Pod {
        let status = json!({ "conditions": [{ "type": "Ready", "status": ready }] });
        let mut pod = json!({ "metadata": { "uid": uid }, "status": status });
        if terminating {
            pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        serde_json::from_value(pod).unwrap()
    }

    /// As slices of a Service with `publishNotReadyAddresses` show a pod.
    fn published(number: u8, uid: &str, serving: bool, terminating: bool) -> Value {
        json!({
            "addresses": [format!("10.244.0.{number}")],
            "conditions": { "ready": true, "serving": serving, "terminating": terminating },
            "targetRef": { "kind": "Pod", "uid": uid },
        })
    }

    /// Last parts of addresses, each with the pod that waits until it is not sent to any more.
    fn selected(endpoints: &[Value], departures: &Departures) -> Vec<(u8, Option<String>)> {
        let slice = json!({ "addressType": "IPv4", "endpoints": endpoints, "ports": [{ "port": 8080, "protocol": "TCP" }] });
        let slice = serde_json::from_value(slice).unwrap();
        let Selection { backends, until } = select(&[&slice], "", Transport::Tcp, None, departures, START + FALLBACK);
        assert_eq!(until, None);
        backends.into_iter().map(|backend| (backend.address.octets()[3], backend.pod)).collect()
    }

    #[test]
    fn a_pod_that_was_not_ready_is_sent_to_until_it_is_away_and_does_not_wait_for_that() {
        let mut departures = Departures::default();
        departures.observe(&pod("a", "False", false), START);
        assert_eq!(selected(&[published(2, "a", false, false)], &departures), [(2, Some("a".to_owned()))]);
        departures.observe(&pod("a", "False", true), START);
        let leaving = published(2, "a", false, true);
        assert_eq!(selected(std::slice::from_ref(&leaving), &departures), [(2, None)]);
        assert_eq!(departures.acknowledge(|_| false).gone, ["a"]);
        assert_eq!(selected(std::slice::from_ref(&leaving), &departures), [(2, None)]);
        // That it becomes ready meanwhile changes nothing.
        assert_eq!(selected(&[published(2, "a", true, true)], &departures), [(2, None)]);
        // Others come first; without `publishNotReadyAddresses` it is not sent to at all.
        let other = published(3, "b", false, false);
        assert_eq!(selected(&[leaving.clone(), other], &departures), [(3, Some("b".to_owned()))]);
        let mut unpublished = leaving.clone();
        unpublished["conditions"]["ready"] = json!(false);
        assert_eq!(selected(&[unpublished], &departures), []);
        departures.deleted("a");
        assert_eq!(selected(&[leaving], &departures), []);
    }

    #[test]
    fn a_pod_that_has_served_does_not_come_back_when_its_containers_end() {
        let mut departures = Departures::default();
        departures.observe(&pod("a", "True", true), START);
        departures.acknowledge(|_| false);
        departures.observe(&pod("a", "False", true), START);
        assert_eq!(selected(&[published(2, "a", false, true)], &departures), []);
    }
}
