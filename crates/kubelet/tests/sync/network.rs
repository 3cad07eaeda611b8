//! A pod network in memory; probes reach the loopback of the test.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use tokio::net::TcpStream;
use windlass_kubelet::network::PodNetwork;

#[derive(Default)]
pub(crate) struct FakeNetwork {
    addresses: Mutex<BTreeMap<String, IpAddr>>,
    given: AtomicUsize,
    /// Connections that every pod serves.
    pub(crate) connections: AtomicUsize,
    /// While it is held, no pod gets an address.
    pub(crate) held: tokio::sync::Mutex<()>,
}

#[async_trait]
impl PodNetwork for FakeNetwork {
    async fn attach(&self, pod_uid: &str, _netns: &Path) -> std::io::Result<Vec<IpAddr>> {
        let _turn = self.held.lock().await;
        let mut addresses = self.addresses.lock().unwrap();
        let address = *addresses.entry(pod_uid.to_owned()).or_insert_with(|| {
            let last = u8::try_from(self.given.fetch_add(1, Ordering::Relaxed)).unwrap() + 2;
            Ipv4Addr::new(10, 0, 0, last).into()
        });
        Ok(vec![address])
    }

    async fn detach(&self, pod_uid: &str) -> std::io::Result<()> {
        self.addresses.lock().unwrap().remove(pod_uid);
        Ok(())
    }

    async fn connect(&self, address: SocketAddr) -> std::io::Result<TcpStream> {
        TcpStream::connect((Ipv4Addr::LOCALHOST, address.port())).await
    }

    async fn connect_within(&self, _netns: &Path, address: SocketAddr) -> std::io::Result<TcpStream> {
        TcpStream::connect(address).await
    }

    async fn connections(&self, _netns: &Path) -> std::io::Result<usize> {
        Ok(self.connections.load(Ordering::Relaxed))
    }

    async fn unfinished(&self, _netns: &Path) -> std::io::Result<usize> {
        Ok(0)
    }

    fn resolv_conf(&self, namespace: &str) -> String {
        format!("search {namespace}.svc.cluster.local\nnameserver 10.96.0.10\n")
    }
}
