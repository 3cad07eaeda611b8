//! What the kubelet needs of the pod network. `windlass` connects it to the real one.

use std::{net::IpAddr, path::Path};

use async_trait::async_trait;
use tokio::net::TcpStream;

/// Puts pods on the network of this machine.
#[async_trait]
pub trait PodNetwork: Send + Sync + 'static {
    /// Connects the network namespace at `netns` (a bind-mounted namespace file) and returns the pod's addresses, the primary first.
    /// Asked again for the same pod (after a restart of the kubelet), it answers with the same addresses.
    async fn attach(&self, pod_uid: &str, netns: &Path) -> std::io::Result<Vec<IpAddr>>;

    /// Gives the pod's addresses back; succeeds for a pod that it does not know.
    async fn detach(&self, pod_uid: &str) -> std::io::Result<()>;

    /// Opens a TCP connection from the machine's own network namespace (probes).
    async fn connect(&self, address: std::net::SocketAddr) -> std::io::Result<TcpStream>;

    /// Opens a TCP connection from inside the network namespace at `netns`, a pod's.
    async fn connect_within(&self, netns: &Path, address: std::net::SocketAddr) -> std::io::Result<TcpStream>;

    /// How many inbound TCP connections the pod is serving now.
    async fn connections(&self, netns: &Path) -> std::io::Result<usize>;

    /// How many TCP connections that the pod has closed have not delivered all that it said on them.
    async fn unfinished(&self, netns: &Path) -> std::io::Result<usize>;

    /// `nameserver`, `search` and `options` lines for the containers of a pod in this namespace.
    fn resolv_conf(&self, namespace: &str) -> String;
}
