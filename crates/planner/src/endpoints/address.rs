//! A pod as a backend of a Service: its addresses, its ports, and how ready it is.

use std::{net::IpAddr, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Container, ObjectReference, Pod, Service, ServicePort},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{publishes_not_ready, selected};
use crate::replica;

/// A port of a Service as one pod offers it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// Name of the Service's port; empty if it has none.
    pub name: String,
    /// Number in the pod.
    pub port: i32,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// What is spoken there.
    pub app_protocol: Option<String>,
}

/// A pod behind a Service.
#[derive(Debug, Clone)]
pub struct Backend {
    /// The pod.
    pub pod: Arc<Pod>,
    /// Its addresses of both families.
    pub addresses: Vec<IpAddr>,
    /// The Service's ports that it has, in the Service's order.
    pub ports: Vec<Port>,
    /// New connections may go there.
    pub ready: bool,
    /// It answers, even if it is on its way out.
    pub serving: bool,
    /// It is on its way out.
    pub terminating: bool,
}

/// The pods behind the Service that have an address, in the order of their names.
pub fn backends(service: &Service, pods: &[Arc<Pod>]) -> Vec<Backend> {
    let mut backends: Vec<Backend> = selected(service, pods).filter_map(|pod| backend(service, pod)).collect();
    backends.sort_by(|left, right| left.pod.metadata.name.cmp(&right.pod.metadata.name));
    backends
}

fn backend(service: &Service, pod: &Arc<Pod>) -> Option<Backend> {
    let status = pod.status.as_ref()?;
    let listed = status.pod_ips.iter().flatten().map(|address| address.ip.as_str());
    let texts = listed.chain(status.pod_ip.as_deref());
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in texts.filter_map(|text| text.parse().ok()) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return None;
    }
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_ref()).into_iter().flatten();
    let (serving, terminating) = (replica::is_ready(pod), pod.metadata.deletion_timestamp.is_some());
    Some(Backend {
        addresses,
        ports: ports.filter_map(|port| resolve(port, pod)).collect(),
        ready: publishes_not_ready(service) || (serving && !terminating),
        serving,
        terminating,
        pod: Arc::clone(pod),
    })
}

/// The port in the pod that a Service's port leads to; `None` if the pod has none of that name.
fn resolve(port: &ServicePort, pod: &Pod) -> Option<Port> {
    let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
    let number = match &port.target_port {
        Some(IntOrString::Int(number)) if *number != 0 => *number,
        Some(IntOrString::String(name)) => named(name, &protocol, pod)?,
        Some(IntOrString::Int(_)) | None => port.port,
    };
    Some(Port { name: port.name.clone().unwrap_or_default(), port: number, protocol, app_protocol: port.app_protocol.clone() })
}

fn named(name: &str, protocol: &str, pod: &Pod) -> Option<i32> {
    let spec = pod.spec.as_ref()?;
    let is_sidecar = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
    let sidecars = spec.init_containers.iter().flatten().filter(is_sidecar);
    let mut ports = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    let found = ports.find(|port| port.name.as_deref() == Some(name) && port.protocol.as_deref().unwrap_or("TCP") == protocol);
    found.map(|port| port.container_port)
}

impl Backend {
    /// How endpoints refer to the pod.
    pub(super) fn target(&self) -> ObjectReference {
        let meta = &self.pod.metadata;
        ObjectReference {
            kind: Some("Pod".to_owned()),
            name: meta.name.clone(),
            namespace: meta.namespace.clone(),
            uid: meta.uid.clone(),
            ..ObjectReference::default()
        }
    }

    /// Name under the Service's own in the DNS, where the pod asks for one.
    pub(super) fn hostname(&self, service: &Service) -> Option<String> {
        let spec = self.pod.spec.as_ref()?;
        let ours = spec.subdomain.as_deref() == service.metadata.name.as_deref();
        spec.hostname.clone().filter(|name| ours && !name.is_empty())
    }

    pub(super) fn node_name(&self) -> Option<String> {
        replica::node_name(&self.pod).map(str::to_owned)
    }

    /// When its readiness last changed.
    fn changed(&self) -> Option<Timestamp> {
        replica::condition(&self.pod, "Ready")?.last_transition_time.as_ref().map(|time| time.0)
    }
}

/// When the newest change came about among these, the Service itself included.
pub(super) fn trigger_time(service: &Service, backends: &[Backend]) -> Option<String> {
    let made = service.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let newest = backends.iter().filter_map(Backend::changed).chain(made).max()?;
    Some(newest.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}
