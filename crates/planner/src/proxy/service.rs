//! One Service and its slices in, its routes and published ports out.

use std::{collections::BTreeSet, net::Ipv4Addr};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        core::v1::{Service, ServicePort, ServiceSpec},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use windlass_api::names::ANNOTATION_SPLIT;

use crate::endpoints::LABEL_HEADLESS;

use super::{
    Departures, Frontend, Health, HttpRoute, Owner, ProxyPlan, Publication, Route, RouteKey, Scope, ServiceKey, Transport,
    endpoints::{Selection, select},
};

/// Names the proxy that a Service is for, which is another one than this: whatever its value.
const LABEL_PROXY_NAME: &str = "service.kubernetes.io/service-proxy-name";
/// Upstream's default of `sessionAffinityConfig.clientIP.timeoutSeconds`.
const DEFAULT_AFFINITY_SECONDS: u32 = 10_800;

/// The machine that routes are made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Its node's name, for traffic policy `Local`.
    pub node: String,
    /// Its own address, on which node ports answer.
    pub address: Ipv4Addr,
    /// The address that its DNS server has bound itself: no route may take it away.
    pub dns: Ipv4Addr,
}

/// Plans one Service from all slices that carry its name.
#[must_use]
pub fn plan(
    service: &Service,
    slices: &[&EndpointSlice],
    departures: &Departures,
    machine: &Machine,
    now: Timestamp,
) -> ProxyPlan {
    let mut plan = ProxyPlan::default();
    let Some(spec) = service.spec.as_ref().filter(|_| is_ours(&service.metadata)) else { return plan };
    // ExternalName is for DNS alone.
    if spec.type_.as_deref() == Some("ExternalName") {
        return plan;
    }
    let key = ServiceKey {
        namespace: service.metadata.namespace.clone().unwrap_or_default(),
        name: service.metadata.name.clone().unwrap_or_default(),
    };
    let slices: Vec<&EndpointSlice> = slices.iter().filter(|slice| is_ours(&slice.metadata)).copied().collect();
    for port in spec.ports.iter().flatten() {
        if let Some(transport) = Transport::of(port.protocol.as_deref()) {
            let select = |only_node: Option<&str>| {
                select(&slices, port.name.as_deref().unwrap_or_default(), transport, only_node, departures, now)
            };
            let first = plan.routes.len();
            plan_port(&mut plan, &key, spec, port, transport, machine, select);
            let http = http(service, port, transport);
            plan.routes[first..].iter_mut().for_each(|route| route.http.clone_from(&http));
        }
    }
    plan.health = health(&key, spec, &plan.routes);
    plan
}

/// Whether a Service or slice is left to this proxy: upstream's asks the API server for no others.
/// See <https://github.com/kubernetes/kubernetes/blob/v1.36.0/cmd/kube-proxy/app/server.go>.
fn is_ours(metadata: &ObjectMeta) -> bool {
    let labels = metadata.labels.as_ref();
    !labels.is_some_and(|labels| labels.contains_key(LABEL_PROXY_NAME) || labels.contains_key(LABEL_HEADLESS))
}

/// Endpoints here are those that clients outside are led to, since they are led to no others.
fn health(service: &ServiceKey, spec: &ServiceSpec, routes: &[Route]) -> Option<Health> {
    let is_asked = spec.type_.as_deref() == Some("LoadBalancer") && spec.external_traffic_policy.as_deref() == Some("Local");
    let port = spec.health_check_node_port.and_then(|port| u16::try_from(port).ok()).filter(|&port| port != 0 && is_asked)?;
    let both = spec.internal_traffic_policy.as_deref() == Some("Local");
    let outside = routes.iter().filter(|route| both || route.key.scope == Scope::External);
    let addresses: BTreeSet<_> = outside.flat_map(|route| &route.backends).map(|backend| backend.address).collect();
    Some(Health { service: service.clone(), port, local_endpoints: addresses.len() })
}

fn plan_port(
    plan: &mut ProxyPlan,
    service: &ServiceKey,
    spec: &ServiceSpec,
    port: &ServicePort,
    transport: Transport,
    machine: &Machine,
    select: impl Fn(Option<&str>) -> Selection,
) {
    let local = |policy: &Option<String>| (policy.as_deref() == Some("Local")).then_some(machine.node.as_str());
    let (internal_node, external_node) = (local(&spec.internal_traffic_policy), local(&spec.external_traffic_policy));
    let mut internal = cluster_frontends(spec, port, transport, machine.dns);
    let mut external = BTreeSet::new();
    let node_port = node_port(spec, port, transport, machine.address);
    publish(plan, service, spec, port, node_port, internal.first().copied());
    let from_outside = node_port.into_iter().chain(external_frontends(spec, port, transport, machine.dns));
    if internal_node == external_node {
        internal.extend(from_outside)
    } else {
        external.extend(from_outside)
    }
    for (scope, frontends, only_node) in [(Scope::Internal, internal, internal_node), (Scope::External, external, external_node)]
    {
        if frontends.is_empty() {
            continue;
        }
        let Selection { backends, until } = select(only_node);
        plan.wake_at = [plan.wake_at, until].into_iter().flatten().min();
        let owner = Owner::Service(service.clone());
        let key = RouteKey { owner, port_name: port.name.clone().unwrap_or_default(), transport, scope };
        plan.routes.push(Route { key, frontends, backends, affinity_seconds: affinity(spec), http: None });
    }
}

fn cluster_frontends(spec: &ServiceSpec, port: &ServicePort, transport: Transport, dns: Ipv4Addr) -> BTreeSet<Frontend> {
    let Ok(port) = u16::try_from(port.port) else { return BTreeSet::new() };
    // A headless Service says `None`, which is no address.
    let addresses = spec.cluster_ips.iter().flatten().chain(spec.cluster_ip.as_ref());
    let addresses = addresses.filter_map(|address| address.parse().ok()).filter(|&address| address != dns);
    addresses.map(|address| Frontend { address, transport, port }).collect()
}

/// Addresses that somebody else leads here.
fn external_frontends(
    spec: &ServiceSpec,
    port: &ServicePort,
    transport: Transport,
    dns: Ipv4Addr,
) -> impl Iterator<Item = Frontend> {
    let number = u16::try_from(port.port).ok();
    let addresses = spec.external_ips.iter().flatten().filter_map(|address| address.parse().ok());
    let addresses = addresses.filter(move |&address| address != dns);
    addresses.filter_map(move |address| Some(Frontend { address, transport, port: number? }))
}

fn node_port(spec: &ServiceSpec, port: &ServicePort, transport: Transport, address: Ipv4Addr) -> Option<Frontend> {
    if !matches!(spec.type_.as_deref(), Some("NodePort" | "LoadBalancer")) {
        return None;
    }
    let port = u16::try_from(port.node_port?).ok().filter(|&port| port != 0)?;
    Some(Frontend { address, transport, port })
}

/// Node ports lead to themselves inside the machine, so that the external policy holds; a load balancer's port leads
/// to the node port, or without one to the ClusterIP. One of a class is somebody else's load balancer.
fn publish(
    plan: &mut ProxyPlan,
    service: &ServiceKey,
    spec: &ServiceSpec,
    port: &ServicePort,
    node_port: Option<Frontend>,
    cluster: Option<Frontend>,
) {
    let mut publish = |host_port, target| {
        plan.publications.push(Publication { owner: Owner::Service(service.clone()), host_port, is_local: false, target });
    };
    if let Some(target) = node_port {
        publish(target.port, target);
    }
    if spec.type_.as_deref() == Some("LoadBalancer")
        && spec.load_balancer_class.is_none()
        && let Some(target) = node_port.or(cluster)
        && let Ok(host_port) = u16::try_from(port.port)
        && node_port.is_none_or(|node_port| node_port.port != host_port)
    {
        publish(host_port, target);
    }
}

fn affinity(spec: &ServiceSpec) -> Option<u32> {
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return None;
    }
    let configured = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref()?.timeout_seconds);
    Some(configured.and_then(|seconds| u32::try_from(seconds).ok()).unwrap_or(DEFAULT_AFFINITY_SECONDS))
}

/// What `appProtocol` and the annotation say of HTTP. See
/// <https://kubernetes.io/docs/concepts/services-networking/service/#application-protocol>.
fn http(service: &Service, port: &ServicePort, transport: Transport) -> Option<HttpRoute> {
    let http2 = match port.app_protocol.as_deref() {
        Some("http" | "kubernetes.io/ws") => false,
        Some("kubernetes.io/h2c") => true,
        _ => return None,
    };
    if transport != Transport::Tcp {
        return None;
    }
    let split = service.metadata.annotations.as_ref().and_then(|annotations| annotations.get(ANNOTATION_SPLIT));
    let shares = split.into_iter().flat_map(|split| split.split(',')).filter_map(|share| {
        let (revision, share) = share.split_once('=')?;
        Some((revision.trim().to_owned(), share.trim().parse().ok()?))
    });
    Some(HttpRoute { http2, split: shares.collect() })
}

#[cfg(test)]
mod tests;
