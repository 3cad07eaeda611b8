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
/// ready, whatever a slice says; and it is a fallback for a bounded time.
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
            let state = state(endpoint, pod.and_then(|uid| departures.of(uid)), now);
            let backend = Backend { address, port, pod: pod.map(str::to_owned) };
            match state {
                State::Ready => {
                    ready.insert(backend);
                }
                State::Fallback { until } => {
                    leaving.backends.insert(backend);
                    leaving.until = [leaving.until, until].into_iter().flatten().min();
                }
                State::Out => {}
            }
        }
    }
    if ready.is_empty() { leaving } else { Selection { backends: ready, until: None } }
}

enum State {
    Ready,
    Fallback { until: Option<Timestamp> },
    Out,
}

fn state(endpoint: &Endpoint, departure: Option<Departure>, now: Timestamp) -> State {
    let conditions = endpoint.conditions.clone().unwrap_or_default();
    let ready = conditions.ready.unwrap_or(true);
    // A slice of an API server that knows no `serving` says by `ready` what there is to say.
    let serving = conditions.serving.unwrap_or(ready);
    let terminating = conditions.terminating.unwrap_or(false);
    match departure {
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
