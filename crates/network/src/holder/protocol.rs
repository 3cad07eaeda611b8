//! What the main process and the holder say to each other: one JSON object a line, one request a connection.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
};

use serde::{Deserialize, Serialize};

use crate::dns::NameChanges;

/// Longest line that is read: some 60,000 published ports.
pub(super) const MAX_LINE_BYTES: u64 = 8 << 20;

/// Version of what is said. A process of another version cannot be talked to; what is only added, with a default, needs no new one.
pub(super) const VERSION: u32 = 1;

fn first_version() -> u32 {
    1
}

/// Transport of a published port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A port of the host that leads to an address inside the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PublishedPort {
    /// Transport.
    pub protocol: Protocol,
    /// Address and port on the host.
    pub listen: SocketAddr,
    /// Address and port in the machine's network namespace.
    pub target: SocketAddr,
}

/// A port that could not be opened, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishFailure {
    /// Transport.
    pub protocol: Protocol,
    /// Address and port on the host.
    pub listen: SocketAddr,
    /// The kernel's reason, such as `Address already in use (os error 98)`.
    pub reason: String,
}

/// What the holder is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Ports that are open, sorted.
    pub ports: Vec<PublishedPort>,
    /// TCP connections and UDP sessions that are being relayed.
    pub connections: usize,
    /// Port of the machine to which connections from pods to the outside are to be led; none in a holder that can't.
    #[serde(default)]
    pub egress_port: Option<u16>,
    /// The same of datagrams.
    #[serde(default)]
    pub egress_udp_port: Option<u16>,
    /// Version of the protocol that the holder speaks; the first one did not say so.
    #[serde(default = "first_version")]
    pub version: u32,
}

/// An HTTP port of a Service: requests that arrive for it go to these backends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpRoute {
    /// What tells routes apart.
    pub name: String,
    /// Where requests may go, in the machine's network namespace.
    pub backends: Vec<HttpBackend>,
    /// Backends speak HTTP/2 without TLS.
    #[serde(default)]
    pub http2: bool,
    /// Shares of requests by revision; empty for no preference.
    #[serde(default)]
    pub split: BTreeMap<String, u32>,
    /// A client goes back to the same backend if it returns within this many seconds.
    #[serde(default)]
    pub affinity_seconds: Option<u32>,
}

/// One pod's port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpBackend {
    /// Address and port.
    pub address: SocketAddr,
    /// Revision of the pod; empty when it has none.
    #[serde(default)]
    pub revision: String,
}

/// Where an HTTP route listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpPort {
    /// Name of the route.
    pub name: String,
    /// Port of the machine.
    pub port: u16,
}

/// A port of the host on which a load balancer asks whether this node has endpoints of a Service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// Address and port on the host.
    pub listen: SocketAddr,
    /// Namespace of the Service.
    pub namespace: String,
    /// Name of the Service.
    pub name: String,
    /// Endpoints on this node that may be sent to.
    pub local_endpoints: usize,
}

/// What became of the requests of one route that went to one revision, since the route is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpCounts {
    /// Name of the route.
    pub route: String,
    /// Revision of the pods; empty for requests that no backend took, and for pods without one.
    pub revision: String,
    /// Requests that were answered.
    pub requests: u64,
    /// Those among them with a status of 500 or above.
    pub failures: u64,
    /// Time from the request's head to the answer's, summed up.
    pub microseconds: u64,
    /// Requests that took at most 5, 10, 25, 50, 100, 250, 500, 1,000, 2,500, 5,000, 10,000 ms.
    pub buckets: Vec<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "lowercase")]
pub(super) enum Request {
    Publish { ports: Vec<PublishedPort> },
    Http { routes: Vec<HttpRoute> },
    HttpCounts,
    Leave { pods: BTreeSet<Ipv4Addr> },
    Part { pods: BTreeSet<Ipv4Addr> },
    Health { checks: Vec<HealthCheck> },
    Names { names: NameChanges },
    Status,
    Stop,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Response {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) failed: Vec<PublishFailure>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) http: Vec<HttpPort>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) counts: Vec<HttpCounts>,
    /// Why the request could not be carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<Status>,
}
