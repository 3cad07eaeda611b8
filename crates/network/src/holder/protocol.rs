//! What the main process and the holder say to each other: one JSON object a line, one request a connection.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// Longest line that is read: some 60,000 published ports.
pub(super) const MAX_LINE_BYTES: u64 = 8 << 20;

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
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "lowercase")]
pub(super) enum Request {
    Publish { ports: Vec<PublishedPort> },
    Status,
    Stop,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Response {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) failed: Vec<PublishFailure>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<Status>,
}
