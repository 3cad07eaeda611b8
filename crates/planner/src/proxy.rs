//! Services, their pods and EndpointSlices in, routes out: who may be sent to, and when a pod that must go is out of every route.
//! Ports of the node that pods ask for are routes, too.

mod departures;
mod endpoints;
mod host_ports;
mod members;
mod service;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::Ipv4Addr,
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;

use crate::owner;

pub use departures::{Acknowledged, Departure, Departures};
pub use host_ports::{has_host_ports, plan_host_ports};
pub use members::slices_of;
pub use service::{Machine, plan};

/// How long a terminating endpoint may go on serving when its Service has no ready one.
///
/// Upstream sends to such an endpoint until it dies. Here its SIGTERM waits for it to be out of every route, so this
/// is what deleting the last pods of a Service takes longer; and it is the time their replacements have to become
/// ready without a lost connection, for which two seconds are enough when the image is there. A pod with a short grace period
/// gives a quarter of it, so that it is out of every route when its SIGTERM is due.
pub const FALLBACK: SignedDuration = SignedDuration::from_secs(2);

/// Transport of a Service port. SCTP is not routed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Transport {
    /// The transport of a `protocol` field, TCP by default; none for those that are not routed.
    #[must_use]
    pub fn of(protocol: Option<&str>) -> Option<Self> {
        match protocol {
            None | Some("TCP") => Some(Self::Tcp),
            Some("UDP") => Some(Self::Udp),
            Some(_) => None,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// An address that clients send to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Frontend {
    /// A ClusterIP, or an address of the machine's own.
    pub address: Ipv4Addr,
    /// Transport.
    pub transport: Transport,
    /// Port.
    pub port: u16,
}

/// An endpoint that a route leads to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Backend {
    /// Address of the endpoint.
    pub address: Ipv4Addr,
    /// Its port, named target ports resolved.
    pub port: u16,
    /// Uid of the pod behind it, if there is one.
    pub pod: Option<String>,
}

/// The Service that something belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

/// A pod as the API names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodRef {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Uid: the name may be another pod's by now.
    pub uid: String,
}

impl PodRef {
    /// What names this pod.
    #[must_use]
    pub fn of(pod: &Pod) -> Self {
        let meta = &pod.metadata;
        let namespace = meta.namespace.clone().unwrap_or_default();
        Self { namespace, name: owner::name(meta).to_owned(), uid: owner::uid(meta).to_owned() }
    }
}

/// For whom something of the machine's is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// A Service.
    Service(ServiceKey),
    /// A pod with ports of the node.
    Pod(PodRef),
}

impl fmt::Display for Owner {
    /// As a person would name it: `Service shop/web`, `Pod shop/web-0`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(service) => write!(formatter, "Service {service}"),
            Self::Pod(PodRef { namespace, name, .. }) => write!(formatter, "Pod {namespace}/{name}"),
        }
    }
}

/// What a Service, or a pod with ports of the node, asks of the machine.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct ProxyPlan {
    /// By port, in order.
    pub routes: Vec<Route>,
    /// Ports of the host, in order.
    pub publications: Vec<Publication>,
    /// For a load balancer that keeps traffic on its node.
    pub health: Option<Health>,
    /// When the plan changes by itself.
    pub wake_at: Option<Timestamp>,
}

/// Which clients a route is for; it matters only where `internalTrafficPolicy` and `externalTrafficPolicy` differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Those of the ClusterIP, and those of node ports when the policies are the same.
    Internal,
    /// Those of node ports and load balancers.
    External,
}

/// What tells routes apart, over all changes of their contents.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteKey {
    /// Whose it is.
    pub owner: Owner,
    /// Name of the Service port, empty for the only one; or address and port of the node, such as `0.0.0.0:80`.
    pub port_name: String,
    /// Transport.
    pub transport: Transport,
    /// For whom.
    pub scope: Scope,
}

impl fmt::Display for RouteKey {
    /// As it names the kernel's chain: `shop/web/tcp/http`, `shop/web/tcp/http/external`; and `pod/UID/tcp/0.0.0.0:80`, since a chain's
    /// name is shorter than a pod's may be. No Service has such a one: there is no colon in the name of a port.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.owner {
            Owner::Service(service) => write!(formatter, "{service}")?,
            Owner::Pod(pod) => write!(formatter, "pod/{}", pod.uid)?,
        }
        write!(formatter, "/{}/{}", self.transport, self.port_name)?;
        match self.scope {
            Scope::Internal => Ok(()),
            Scope::External => formatter.write_str("/external"),
        }
    }
}

/// One port of a Service or of the node: from its frontends to any of its backends, each new connection to a random one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Identity.
    pub key: RouteKey,
    /// Never empty.
    pub frontends: BTreeSet<Frontend>,
    /// In order; empty when connections are to be refused.
    pub backends: BTreeSet<Backend>,
    /// A client goes back to the same backend if it returns within this many seconds.
    pub affinity_seconds: Option<u32>,
    /// Requests, not connections, are what is routed.
    pub http: Option<HttpRoute>,
}

/// How requests of an HTTP port are routed.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct HttpRoute {
    /// Backends speak HTTP/2 without TLS.
    pub http2: bool,
    /// Shares of requests by revision of pods; empty for no preference.
    pub split: BTreeMap<String, u32>,
}

/// A health check by which a load balancer learns whether this machine has endpoints of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// The Service.
    pub service: ServiceKey,
    /// Port on the host.
    pub port: u16,
    /// Endpoints of this node that may be sent to.
    pub local_endpoints: usize,
}

/// A port that the host is to have open for a Service or a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// Who asks for it.
    pub owner: Owner,
    /// Port on the host.
    pub host_port: u16,
    /// Only the host itself is to reach it, whatever its address for others is.
    pub is_local: bool,
    /// Where in the machine it leads.
    pub target: Frontend,
}
