//! Kept connections between pods: clients of a pod that is to stop are asked to close, in its answers from the second on.
//!
//! The kernel leads a Service's connections to its pods, and nobody sits in between who could tell where an exchange of HTTP/1 ends. For
//! the time in which a pod is to stop, what it sends takes a way round: out by a device whose other end is here, and in again. On that way
//! the head of an answer is made to say `Connection: close`; its client opens the next connection, which leads to another pod.
//!
//! ```text
//! pod ── rule: in by its link, TCP ──▶ table 100 ──▶ wl-parting ──▶ here ──▶ wl-parting ── untracked ──▶ client
//! ```
//!
//! Where the client is the machine itself only what a Service led takes it: probes and what the holder asks a pod by its own address go
//! straight on.
//!
//! Answers are changed without changing their length, so the two ends agree about every byte. Nothing else is changed.

mod flows;
mod head;

use std::{collections::BTreeSet, fs, io, net::Ipv4Addr};

use rtnetlink::{
    Handle, RouteMessageBuilder,
    packet_route::{
        IpProtocol,
        route::RouteScope,
        rule::{RuleAction, RuleAttribute, RuleMessage},
    },
};
use tokio::task::JoinHandle;
use tokio_tun::Tun;

use self::flows::Flows;
use super::log;
use crate::{
    netfilter::{Batch, Chain, Expression, Hook, NetfilterSocket, TRANSLATED},
    pod::link_name,
};

/// The device; no pod's link has such a name.
pub(crate) const DEVICE: &str = "wl-parting";
/// Where its route is, and nothing else.
const TABLE: u32 = 100;
/// Name of the table of packet filter rules.
const RULES: &str = "windlass-parting";
/// Priorities of rules. What stays with the pod comes first.
const TO_ITSELF: u32 = 10;
/// What a Service led, to whomever.
const LED_AROUND: u32 = 20;
/// The kernel's own for what is to the machine's addresses, which comes first of all before we need one before it.
const TO_MACHINE: u32 = 30;
const AROUND: u32 = 40;
/// Marks packets of connections that a Service led.
const LED: [u8; 4] = 1_u32.to_ne_bytes();
/// Longest packet: the device has the MTU of pods' links, 1,500.
const LONGEST: usize = 2_048;

/// The way round, once somebody needs it.
#[derive(Debug)]
pub(super) struct Parting {
    way: Way,
    /// Pods whose packets take it.
    pods: BTreeSet<Ipv4Addr>,
}

#[derive(Debug)]
enum Way {
    /// Nobody has asked yet.
    Unknown,
    /// There was none when it was asked for last; said once, and asked for again.
    None,
    There {
        netlink: Handle,
        /// What talks to the kernel, and what passes packets on.
        _tasks: [JoinHandle<()>; 2],
    },
}

impl Parting {
    pub(super) fn new() -> Self {
        Self { way: Way::Unknown, pods: BTreeSet::new() }
    }

    /// Makes `pods` the whole set of those whose clients are asked to close. Where that can't be done, connections have the time that
    /// their pods are given, and end with them.
    pub(super) async fn set(&mut self, pods: BTreeSet<Ipv4Addr>) {
        if !matches!(self.way, Way::There { .. }) && !pods.is_empty() {
            let is_first = matches!(self.way, Way::Unknown);
            self.way = open().await.unwrap_or_else(|error| {
                if is_first {
                    log(&format!("kept connections between pods are not asked to close before a pod stops: {error}"));
                }
                Way::None
            });
        }
        let Way::There { netlink, .. } = &self.way else { return };
        for rule in self.pods.difference(&pods).flat_map(|pod| rules(netlink, *pod)) {
            if let Err(error) = netlink.rule().del(rule).execute().await {
                log(&format!("a rule for packets of a pod stays: {error}"));
            }
        }
        for rule in pods.difference(&self.pods).flat_map(|pod| rules(netlink, *pod)) {
            let mut request = netlink.rule().add();
            *request.message_mut() = rule;
            if let Err(error) = request.execute().await {
                log(&format!("no rule for packets of a pod: {error}"));
            }
        }
        self.pods = pods;
    }
}

/// What comes from a pod by TCP takes the way round. By its link, and not only from its address: what comes back to us by the device is
/// not meant again. What the pod sends to itself through its Service does not: the kernel forgets a connection whose source it has
/// masqueraded when that takes another way, and nobody is left to be told when the pod stops.
fn rules(netlink: &Handle, pod: Ipv4Addr) -> [RuleMessage; 3] {
    let rule = || netlink.rule().add().v4().input_interface(link_name(pod)).source_prefix(pod, 32).action(RuleAction::ToTable);
    let to_itself = rule().destination_prefix(pod, 32).table_id(u32::from(nix::libc::RT_TABLE_MAIN)).priority(TO_ITSELF);
    let led = rule().table_id(TABLE).priority(LED_AROUND).fw_mark(u32::from_ne_bytes(LED));
    [to_itself, led, rule().table_id(TABLE).priority(AROUND)].map(|mut request| {
        request.message_mut().attributes.push(RuleAttribute::IpProtocol(IpProtocol::Tcp));
        request.message_mut().clone()
    })
}

async fn open() -> io::Result<Way> {
    let tun = Tun::builder().name(DEVICE).up().build().map_err(io::Error::other)?.pop().ok_or(io::ErrorKind::NotFound)?;
    // What comes in by it has a Service's address as its source, which is the machine's own.
    fs::write(format!("/proc/sys/net/ipv4/conf/{DEVICE}/accept_local"), "1")?;
    let index = tun.index().map_err(io::Error::other)?;
    add_rules(index)?;
    let (connection, netlink, _) = rtnetlink::new_connection()?;
    let talking = tokio::task::spawn_local(connection);
    put_first(&netlink).await.map_err(io::Error::other)?;
    let route = RouteMessageBuilder::<Ipv4Addr>::new().table_id(TABLE).output_interface(index).scope(RouteScope::Link).build();
    netlink.route().add(route).replace().execute().await.map_err(io::Error::other)?;
    let passing = tokio::task::spawn_local(pass_on(tun));
    Ok(Way::There { netlink, _tasks: [talking, passing] })
}

/// Makes room before the kernel's rule for the machine's own addresses, which is never away meanwhile.
async fn put_first(netlink: &Handle) -> Result<(), rtnetlink::Error> {
    let local = || netlink.rule().add().v4().action(RuleAction::ToTable).table_id(u32::from(nix::libc::RT_TABLE_LOCAL));
    local().priority(TO_MACHINE).replace().execute().await?;
    let mut first = local().priority(0);
    netlink.rule().del(first.message_mut().clone()).execute().await
}

/// Marks what Services led. And leaves what comes in by the device untracked: packets were translated on their way to us already, and
/// tracked once more they would be taken for connections of their own.
fn add_rules(device: u32) -> io::Result<()> {
    let mut batch = Batch::new(RULES);
    batch.add_table();
    let early = Chain { name: "prerouting", kind: "filter", hook: Hook::Prerouting, priority: -300 };
    batch.add_base_chain(early);
    let device = device.to_ne_bytes();
    batch.add_rule(early.name, &[Expression::LoadDevice(0), Expression::Equal(0, &device), Expression::Untracked]);
    // After the kernel knows the connection, and before it looks for a route.
    let tracked = Chain { name: "tracked", kind: "filter", hook: Hook::Prerouting, priority: -150 };
    batch.add_base_chain(tracked);
    let is_led = [Expression::LoadConnectionStatus(0), Expression::Mask(0, TRANSLATED), Expression::NotEqual(0, &[0; 4])];
    batch.add_rule(tracked.name, &[&is_led[..], &[Expression::Set(0, &LED), Expression::Mark(0)]].concat());
    NetfilterSocket::open()?.commit(batch)
}

async fn pass_on(tun: Tun) {
    let (mut flows, mut packet) = (Flows::default(), vec![0; LONGEST]);
    loop {
        let length = match tun.recv(&mut packet).await {
            Ok(length) => length,
            Err(error) => return log(&format!("packets of pods that stop are not passed on any more: {error}")),
        };
        flows.look(&mut packet[..length]);
        // A packet that the kernel does not take is lost like any other, and sent again.
        let _ = tun.send(&packet[..length]).await;
    }
}
