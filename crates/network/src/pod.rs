//! The pod network: each pod hangs on the machine by a veth pair of its own, and all traffic between pods is routed.
//!
//! There is no bridge on purpose. A pod's address has no neighbours (`/32`), so the answer to a Service's client always passes
//! the machine's routing, where its address is translated back; across a bridge it would go past, unless `br_netfilter` is loaded.
//! And the route to a pod goes at the instant its namespace does: who connects to a dead pod is told so, instead of waiting for ARP.

mod addresses;
mod connections;
mod link;
mod settings;

use std::{
    fs::File,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
};

use rtnetlink::Handle;
use tokio::{net::TcpStream, sync::Mutex};
use tracing::warn;

use crate::{
    Addresses, Machine,
    machine::{new_socket, within},
    netfilter::{NetfilterSocket, forget_backend},
};
use addresses::PodAddresses;
pub(crate) use link::link_name;

/// Puts pods on the network of this machine; clones share it.
#[derive(Debug, Clone)]
pub struct PodNetwork {
    machine: Machine,
    addresses: Arc<Addresses>,
    /// Talks rtnetlink in the machine's own namespace.
    netlink: Handle,
    /// Taken for the choice of an address only, not while links are made.
    assigned: Arc<Mutex<PodAddresses>>,
}

impl PodNetwork {
    /// Prepares the machine's namespace (loopback, its own address, routes, forwarding), and reads which pods have which address
    /// from `data_dir`. Nothing that is there already is disturbed.
    ///
    /// # Errors
    /// When the kernel refuses, or the directory can't be read.
    pub async fn prepare(machine: &Machine, addresses: Addresses, data_dir: &Path) -> io::Result<Self> {
        let assigned = PodAddresses::open(&data_dir.join("pod-addresses"), addresses.pods)?;
        machine.call(settings::apply).await?;
        let netlink = machine.run(|| async { netlink_here() }).await??;
        link::prepare_machine(&netlink, &addresses).await?;
        Ok(Self { machine: machine.clone(), addresses: Arc::new(addresses), netlink, assigned: Arc::new(Mutex::new(assigned)) })
    }

    /// Connects the network namespace that `netns` is a file of, and returns the pod's addresses, the primary first.
    /// Asked again for the same pod, it answers with the same address.
    ///
    /// # Errors
    /// When all addresses are taken, or the kernel refuses.
    pub async fn attach(&self, pod_uid: &str, netns: &Path) -> io::Result<Vec<IpAddr>> {
        let namespace = File::open(netns)?;
        let address = self.assigned.lock().await.assign(pod_uid)?;
        let inside = namespace.try_clone()?;
        let pod = self.machine.run(move || async move { within(inside, netlink_here) }).await??;
        link::connect(&self.netlink, &pod, &namespace, address, self.addresses.machine()).await?;
        Ok(vec![IpAddr::V4(address)])
    }

    /// Gives the pod's address back; succeeds for a pod that it does not know.
    ///
    /// # Errors
    /// When the kernel or the disk refuses.
    pub async fn detach(&self, pod_uid: &str) -> io::Result<()> {
        let mut assigned = self.assigned.lock().await;
        if let Some(address) = assigned.find(pod_uid) {
            link::disconnect(&self.netlink, address).await?;
            let forgotten = self.machine.call(move || forget_backend(&mut NetfilterSocket::open()?, address)).await;
            if let Err(error) = forgotten {
                warn!(%address, %error, "connections to a pod that has gone are not forgotten");
            }
            assigned.release(pod_uid)?;
        }
        Ok(())
    }

    /// Pods that have an address, those of an earlier run included.
    pub async fn attached(&self) -> Vec<(String, Ipv4Addr)> {
        self.assigned.lock().await.all()
    }

    /// Opens a TCP connection from the machine's own namespace.
    ///
    /// # Errors
    /// As [`TcpStream::connect`].
    pub async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        self.machine.connect(address).await
    }

    /// Opens a TCP connection from inside a pod's namespace, which `netns` is a file of.
    ///
    /// # Errors
    /// When the namespace can't be entered, or as [`TcpStream::connect`].
    pub async fn connect_within(&self, netns: &Path, address: SocketAddr) -> io::Result<TcpStream> {
        let namespace = File::open(netns)?;
        let socket = self.machine.call_within(namespace, move || new_socket(address)).await?;
        socket.connect(address).await
    }

    /// How many inbound TCP connections are being served in the namespace: those to a port that something listens on there,
    /// from the handshake until this end has closed.
    ///
    /// # Errors
    /// When the namespace can't be entered or read.
    pub async fn connections(&self, netns: &Path) -> io::Result<usize> {
        let namespace = File::open(netns)?;
        self.machine.call_within(namespace, connections::count).await
    }

    /// How many TCP connections that were closed in the namespace have not delivered all that was said on them. What they have not
    /// when the namespace goes is lost.
    ///
    /// # Errors
    /// When the namespace can't be entered or read.
    pub async fn unfinished(&self, netns: &Path) -> io::Result<usize> {
        let namespace = File::open(netns)?;
        self.machine.call_within(namespace, connections::count_unfinished).await
    }

    /// The text of `/etc/resolv.conf` for containers of a pod in this namespace, as upstream's `ClusterFirst` writes it.
    #[must_use]
    pub fn resolv_conf(&self, namespace: &str) -> String {
        let Addresses { dns, cluster_domain: domain, .. } = &*self.addresses;
        format!("search {namespace}.svc.{domain} svc.{domain} {domain}\nnameserver {dns}\noptions ndots:5\n")
    }
}

/// A netlink connection in the namespace that this thread is in now, served by a task of this thread.
fn netlink_here() -> io::Result<Handle> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    drop(tokio::task::spawn_local(connection));
    Ok(handle)
}
