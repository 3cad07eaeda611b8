//! Connects the kubelet to the pod network, which know nothing of each other.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::Path,
};

use async_trait::async_trait;
use tokio::net::TcpStream;
use windlass_kubelet::network::PodNetwork;

/// The machine's pod network, as the kubelet asks for it.
#[derive(Debug, Clone)]
pub(crate) struct Connected(pub(crate) windlass_network::PodNetwork);

#[async_trait]
impl PodNetwork for Connected {
    async fn attach(&self, pod_uid: &str, netns: &Path) -> io::Result<Vec<IpAddr>> {
        self.0.attach(pod_uid, netns).await
    }

    async fn detach(&self, pod_uid: &str) -> io::Result<()> {
        self.0.detach(pod_uid).await
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        self.0.connect(address).await
    }

    async fn connect_within(&self, netns: &Path, address: SocketAddr) -> io::Result<TcpStream> {
        self.0.connect_within(netns, address).await
    }

    async fn connections(&self, netns: &Path) -> io::Result<usize> {
        self.0.connections(netns).await
    }

    async fn unfinished(&self, netns: &Path) -> io::Result<usize> {
        self.0.unfinished(netns).await
    }

    fn resolv_conf(&self, namespace: &str) -> String {
        self.0.resolv_conf(namespace)
    }
}
