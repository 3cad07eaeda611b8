//! The way out: TCP connections from pods to the outside, carried on from the host's network namespace.
//!
//! The machine has no link to the host, so nothing of the host's is changed for it: no route, no rule, no interface. The kernel leads
//! pods' connections to a port of ours, and we make them again from the host, where they are the host's own. Names are
//! resolved by the cluster's DNS; other datagrams have no way out.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    time::Duration,
};

use nix::sys::socket::{getsockopt, sockopt::OriginalDst};
use tokio::{
    net::{TcpListener, TcpStream},
    task::spawn_local,
    time::{sleep, timeout},
};

use super::{
    host::HostThread,
    process::log,
    relay::{Shared, splice},
};

/// As long as Linux tries by itself, less what no client waits for.
const CONNECT_PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(100);

/// Listens in the machine; the port by which it can be reached.
pub(super) async fn listen() -> io::Result<(TcpListener, u16)> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    let port = listener.local_addr()?.port();
    Ok((listener, port))
}

/// Carries connections on until the task is dropped.
pub(super) async fn carry(listener: TcpListener, host: HostThread, shared: Shared) {
    loop {
        match listener.accept().await {
            Ok((pod, _)) => drop(spawn_local(carry_one(pod, host.clone(), shared.clone()))),
            Err(error) => {
                log(&error);
                sleep(PAUSE).await;
            }
        }
    }
}

async fn carry_one(pod: TcpStream, host: HostThread, shared: Shared) {
    let _counted = shared.count();
    match timeout(CONNECT_PATIENCE, connect(&pod, &host)).await {
        Ok(Ok(outside)) => splice((&pod, &()), (&outside, &()), &shared).await,
        // All that can be said so late: that it did not work.
        _ => drop(pod.set_zero_linger()),
    }
}

async fn connect(pod: &TcpStream, host: &HostThread) -> io::Result<TcpStream> {
    let original = getsockopt(pod, OriginalDst)?;
    let address = Ipv4Addr::from_bits(u32::from_be(original.sin_addr.s_addr));
    let destination = SocketAddrV4::new(address, u16::from_be(original.sin_port));
    // Who connects to this port itself would be led back to it for ever.
    if pod.local_addr()? == SocketAddr::V4(destination) {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    host.outbound(destination.into()).await?.connect(destination.into()).await
}
