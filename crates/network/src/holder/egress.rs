//! The way out: TCP connections and UDP datagrams from pods to the outside, carried on from the host's network namespace.
//!
//! The machine has no link to the host, so nothing of the host's is changed for it: no route, no rule, no interface. The kernel leads
//! pods' traffic to a port of ours, and we make it again from the host, where it is the host's own. Nothing but TCP and UDP has
//! a way out.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    time::Duration,
};

use nix::sys::socket::{getsockopt, sockopt::OriginalDst};
use tokio::{
    net::{TcpListener, TcpStream, UdpSocket},
    task::spawn_local,
    time::{sleep, timeout},
};

use super::{
    host::HostThread,
    process::log,
    relay::{Shared, splice},
    udp,
};

/// As long as Linux tries by itself, less what no client waits for.
const CONNECT_PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(100);

/// Listens in the machine, and carries on what comes there; the ports by which it can be reached, over TCP and over UDP.
pub(super) async fn start(host: HostThread, shared: Shared) -> io::Result<(u16, u16)> {
    let any = (Ipv4Addr::UNSPECIFIED, 0);
    let (listener, datagrams) = (TcpListener::bind(any).await?, UdpSocket::bind(any).await?);
    let ports = (listener.local_addr()?.port(), datagrams.local_addr()?.port());
    let outward = udp::Outward::open(host.clone(), ports.1)?;
    drop(spawn_local(udp::relay(datagrams, udp::Way::Outward(outward), shared.clone())));
    drop(spawn_local(carry(listener, host, shared)));
    Ok(ports)
}

/// Carries connections on until the task is dropped.
async fn carry(listener: TcpListener, host: HostThread, shared: Shared) {
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
