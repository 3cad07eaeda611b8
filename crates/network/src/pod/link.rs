//! Links, addresses and routes, by rtnetlink.

use std::{
    fs::File,
    io,
    net::{IpAddr, Ipv4Addr},
    os::fd::AsRawFd,
};

use futures::TryStreamExt;
use rtnetlink::{
    Error, Handle, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder,
    packet_route::{
        IpProtocol,
        link::{InfoData, InfoVeth},
        route::{RouteScope, RouteType},
        rule::{RuleAction, RuleAttribute},
    },
};
use tracing::warn;

use crate::Addresses;

/// Name of the pod's end.
const POD_LINK: &str = "eth0";
/// Loopback is the first interface of every namespace.
const LOOPBACK: u32 = 1;
/// What Ethernet carries: a pod's packets may leave the machine.
const MTU: u32 = 1500;
/// Table of the route that the machine's own packets to the outside take, and of nobody else's; and priority of the rule that leads to
/// it, behind the kernel's own.
const OUTWARD_TABLE: u32 = 101;
const OUTWARD_PRIORITY: u32 = 32_800;

/// Loopback, the machine's own address, and routes for what belongs to nobody. Applied again it changes nothing.
pub(super) async fn prepare_machine(netlink: &Handle, addresses: &Addresses) -> io::Result<()> {
    let machine = addresses.machine();
    netlink.link().set(LinkUnspec::new_with_index(LOOPBACK).up().build()).execute().await.map_err(io_error)?;
    netlink.address().add(LOOPBACK, IpAddr::V4(machine), 32).replace().execute().await.map_err(io_error)?;
    // An address that no pod has is refused at once; a pod's own route is longer, and wins.
    let pods = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(addresses.pods.base(), addresses.pods.prefix())
        .kind(RouteType::Unreachable)
        .build();
    netlink.route().add(pods).replace().execute().await.map_err(io_error)?;
    // Services' addresses are the machine's own, so that it can send to them and nothing for them ever leaves it.
    let services = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(addresses.services.base(), addresses.services.prefix())
        .table_id(u32::from(nix::libc::RT_TABLE_LOCAL))
        .kind(RouteType::Local)
        .scope(RouteScope::Host)
        .output_interface(LOOPBACK)
        .pref_source(machine)
        .build();
    netlink.route().add(services).replace().execute().await.map_err(io_error)?;
    if let Err(error) = prepare_outward(netlink, machine).await {
        warn!(%error, "pods in the network of the machine itself don't reach the outside");
    }
    Ok(())
}

/// Lets the machine itself send to the outside, over TCP and UDP: the way starts at the loopback device, and rules of the packet filter
/// lead on from there. Packets of pods don't take it.
async fn prepare_outward(netlink: &Handle, machine: Ipv4Addr) -> io::Result<()> {
    let route = RouteMessageBuilder::<Ipv4Addr>::new()
        .table_id(OUTWARD_TABLE)
        .output_interface(LOOPBACK)
        .scope(RouteScope::Link)
        .pref_source(machine)
        .build();
    netlink.route().add(route).replace().execute().await.map_err(io_error)?;
    for protocol in [IpProtocol::Tcp, IpProtocol::Udp] {
        // What comes in by the loopback device is what is sent from here.
        let rule = netlink.rule().add().v4().input_interface("lo".to_owned()).action(RuleAction::ToTable);
        let mut rule = rule.table_id(OUTWARD_TABLE).priority(OUTWARD_PRIORITY);
        rule.message_mut().attributes.push(RuleAttribute::IpProtocol(protocol));
        match rule.execute().await.map_err(io_error) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            result => result?,
        }
    }
    Ok(())
}

/// Connects a pod's namespace. Applied again it changes nothing, and brings to its end what was cut off in the middle: whoever made a
/// pair of links may have been killed before its route.
pub(super) async fn connect(
    netlink: &Handle,
    pod: &Handle,
    namespace: &File,
    address: Ipv4Addr,
    gateway: Ipv4Addr,
) -> io::Result<()> {
    let name = link_name(address);
    let [machine_end, pod_end] = [hardware_address(0x0e, address), hardware_address(0x0a, address)];
    if index_of(pod, POD_LINK).await?.is_none() || index_of(netlink, &name).await?.is_none() {
        // Left by a namespace of the same pod that is on its way out.
        disconnect(netlink, address).await?;
        let peer = LinkMessageBuilder::<LinkUnspec>::new()
            .name(POD_LINK)
            .mtu(MTU)
            .address(pod_end.to_vec())
            .setns_by_fd(namespace.as_raw_fd())
            .build();
        let pair = LinkVeth::new(&name, POD_LINK)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .mtu(MTU)
            .address(machine_end.to_vec())
            .up()
            .build();
        netlink.link().add(pair).execute().await.map_err(io_error)?;
    }
    connect_pod_end(pod, address, gateway, machine_end).await?;
    connect_machine_end(netlink, &name, address, gateway, pod_end).await
}

/// Deletes the pair, wherever its other end is.
pub(super) async fn disconnect(netlink: &Handle, address: Ipv4Addr) -> io::Result<()> {
    match index_of(netlink, &link_name(address)).await? {
        Some(index) => match netlink.link().del(index).execute().await.map_err(io_error) {
            // The pod's namespace took it along meanwhile.
            Err(error) if error.raw_os_error() == Some(nix::libc::ENODEV) => Ok(()),
            result => result,
        },
        None => Ok(()),
    }
}

async fn connect_pod_end(pod: &Handle, address: Ipv4Addr, gateway: Ipv4Addr, gateway_hardware: [u8; 6]) -> io::Result<()> {
    let index = index_of(pod, POD_LINK).await?.ok_or(io::ErrorKind::NotFound)?;
    pod.link().set(LinkUnspec::new_with_index(LOOPBACK).up().build()).execute().await.map_err(io_error)?;
    pod.link().set(LinkUnspec::new_with_index(index).up().build()).execute().await.map_err(io_error)?;
    pod.address().add(index, IpAddr::V4(address), 32).replace().execute().await.map_err(io_error)?;
    neighbour(pod, index, gateway, gateway_hardware).await?;
    let to_gateway = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(gateway, 32)
        .output_interface(index)
        .scope(RouteScope::Link)
        .build();
    pod.route().add(to_gateway).replace().execute().await.map_err(io_error)?;
    let default = RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).output_interface(index).build();
    pod.route().add(default).replace().execute().await.map_err(io_error)
}

async fn connect_machine_end(
    netlink: &Handle,
    name: &str,
    address: Ipv4Addr,
    source: Ipv4Addr,
    pod_hardware: [u8; 6],
) -> io::Result<()> {
    let index = index_of(netlink, name).await?.ok_or(io::ErrorKind::NotFound)?;
    neighbour(netlink, index, address, pod_hardware).await?;
    let to_pod = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(address, 32)
        .output_interface(index)
        .scope(RouteScope::Link)
        .pref_source(source)
        .build();
    netlink.route().add(to_pod).replace().execute().await.map_err(io_error)
}

/// There is one address at the other end of a pair, and it is known: nobody needs to ask for it.
async fn neighbour(netlink: &Handle, index: u32, address: Ipv4Addr, hardware: [u8; 6]) -> io::Result<()> {
    let request = netlink.neighbours().add(index, IpAddr::V4(address)).link_layer_address(&hardware);
    request.replace().execute().await.map_err(io_error)
}

async fn index_of(netlink: &Handle, name: &str) -> io::Result<Option<u32>> {
    match netlink.link().get().match_name(name).execute().try_next().await.map_err(io_error) {
        Ok(link) => Ok(link.map(|link| link.header.index)),
        Err(error) if error.raw_os_error() == Some(nix::libc::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The machine's end is named by the pod's address, which is its own alone: `wl0af40005` for 10.244.0.5.
pub(crate) fn link_name(address: Ipv4Addr) -> String {
    format!("wl{:08x}", address.to_bits())
}

/// A locally administered hardware address made of the pod's address.
fn hardware_address(first: u8, address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [first, 0x58, a, b, c, d]
}

fn io_error(error: Error) -> io::Error {
    match error {
        Error::NetlinkError(message) => message.to_io(),
        other => io::Error::other(other),
    }
}
