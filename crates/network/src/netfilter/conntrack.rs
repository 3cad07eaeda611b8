//! Connection tracking: where a connection was led, and forgetting what was led to an endpoint that has gone: without that a client that
//! goes on sending is sent there for as long as it does.

use std::{
    io,
    net::{Ipv4Addr, SocketAddrV4},
};

use super::{
    attributes::{Attributes, find},
    socket::NetfilterSocket,
};

const SUBSYSTEM: u16 = 1;
const GET: u16 = 1;
const DELETE: u16 = 2;
const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
const DUMP: u16 = 0x300;
const FAMILY: u8 = 2;

// Types of attributes, from linux/netfilter/nfnetlink_conntrack.h.
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const ADDRESSES: u16 = 1;
const SOURCE_ADDRESS: u16 = 1;
const DESTINATION_ADDRESS: u16 = 2;
const TRANSPORT: u16 = 2;
const TRANSPORT_NUMBER: u16 = 1;
const SOURCE_PORT: u16 = 2;
const DESTINATION_PORT: u16 = 3;
const FILTER: u16 = 25;
const FILTER_ORIGINAL: u16 = 1;
const FILTER_REPLY: u16 = 2;
/// The kernel's `CTA_FILTER_F_CTA_IP_SRC`.
const BY_SOURCE_ADDRESS: u32 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// A tracked UDP flow: where the client sends, and who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flow {
    /// What the client sends to.
    pub(crate) frontend: (Ipv4Addr, u16),
    /// What it was translated to; the same where it was not.
    pub(crate) backend: (Ipv4Addr, u16),
}

/// A tracked flow, by attributes of both ends of what is answered. Not of what the client sends: it may come again from the same port, and
/// be led elsewhere, and that is another flow.
#[derive(Debug)]
pub(crate) struct Tracked {
    reply: Vec<u8>,
}

/// Forgets the UDP flows that `stale` picks. The next datagram of such a client is routed anew.
pub(crate) fn forget_flows(socket: &mut NetfilterSocket, stale: impl Fn(Flow) -> bool) -> io::Result<usize> {
    let tracked = find_tracked(socket, &Attributes::default(), |attributes| flow(attributes).is_some_and(&stale))?;
    forget(socket, &tracked)
}

/// Forgets everything that was led to an address which nobody has any more.
///
/// The kernel says nothing to who sends there, as long as it remembers: not to a client that has not heard that its server has gone, and
/// not to one that opens a connection from a port that was used for another one before. Once it has forgotten, the first is led to
/// another backend, which resets it, and the second to one that serves it.
pub(crate) fn forget_backend(socket: &mut NetfilterSocket, address: Ipv4Addr) -> io::Result<usize> {
    let tracked = led_to(socket, address)?;
    forget(socket, &tracked)
}

/// Everything that was led to an address.
pub(crate) fn led_to(socket: &mut NetfilterSocket, address: Ipv4Addr) -> io::Result<Vec<Tracked>> {
    let mut only = Attributes::default();
    only.nest(REPLY, |tuple| {
        tuple.nest(ADDRESSES, |addresses| {
            addresses.put(SOURCE_ADDRESS, &address.octets());
        });
    });
    // The kernel looks through them by itself; one that can't (before 5.8) tells of all.
    only.nest(FILTER, |filter| {
        filter.put(FILTER_ORIGINAL, &0_u32.to_ne_bytes()).put(FILTER_REPLY, &BY_SOURCE_ADDRESS.to_ne_bytes());
    });
    find_tracked(socket, &only, |attributes| backend(attributes) == Some(address))
}

fn find_tracked(socket: &mut NetfilterSocket, only: &Attributes, is_wanted: impl Fn(&[u8]) -> bool) -> io::Result<Vec<Tracked>> {
    let mut found = Vec::new();
    socket.dump(&message(GET, DUMP, only), |body| {
        // After `nfgenmsg`.
        let attributes = body.get(4..).unwrap_or_default();
        if let Some(reply) = find(attributes, REPLY)
            && is_wanted(attributes)
        {
            found.push(Tracked { reply: reply.to_vec() });
        }
    })?;
    Ok(found)
}

/// Forgets these flows, of which some may have ended meanwhile.
pub(crate) fn forget(socket: &mut NetfilterSocket, tracked: &[Tracked]) -> io::Result<usize> {
    for Tracked { reply } in tracked {
        let mut attributes = Attributes::default();
        attributes.put(REPLY | 0x8000, reply);
        match socket.request(&message(DELETE, ACK, &attributes)) {
            Err(error) if error.raw_os_error() == Some(nix::libc::ENOENT) => {}
            result => result?,
        }
    }
    Ok(tracked.len())
}

/// The address that a TCP connection of this namespace was led to; none when it is not tracked any more.
pub(crate) fn find_backend(socket: &mut NetfilterSocket, from: SocketAddrV4, to: SocketAddrV4) -> io::Result<Option<Ipv4Addr>> {
    let reply = ask(socket, (ORIGINAL, TCP, from, to), REPLY)?;
    Ok(reply.and_then(|reply| end(&reply, SOURCE_ADDRESS, SOURCE_PORT)).map(|(address, _)| address))
}

/// Where a datagram was sent that came from there, and was led to this address and port of ours.
pub(crate) fn find_destination(
    socket: &mut NetfilterSocket,
    from: SocketAddrV4,
    led_to: SocketAddrV4,
) -> io::Result<Option<SocketAddrV4>> {
    let original = ask(socket, (REPLY, UDP, led_to, from), ORIGINAL)?;
    let destination = original.and_then(|original| end(&original, DESTINATION_ADDRESS, DESTINATION_PORT));
    Ok(destination.map(|(address, port)| SocketAddrV4::new(address, port)))
}

/// Asks for a flow by one of its tuples (the type of the attribute, transport, source and destination), and gives another one.
fn ask(
    socket: &mut NetfilterSocket,
    (by, transport, source, destination): (u16, u8, SocketAddrV4, SocketAddrV4),
    wanted: u16,
) -> io::Result<Option<Vec<u8>>> {
    let mut attributes = Attributes::default();
    attributes.nest(by, |tuple| {
        tuple.nest(ADDRESSES, |addresses| {
            addresses.put(SOURCE_ADDRESS, &source.ip().octets()).put(DESTINATION_ADDRESS, &destination.ip().octets());
        });
        tuple.nest(TRANSPORT, |ports| {
            ports.put(TRANSPORT_NUMBER, &[transport]);
            ports.put(SOURCE_PORT, &source.port().to_be_bytes()).put(DESTINATION_PORT, &destination.port().to_be_bytes());
        });
    });
    let mut found = None;
    let asked = socket.dump(&message(GET, ACK, &attributes), |body| {
        found = find(body.get(4..).unwrap_or_default(), wanted).map(<[u8]>::to_vec);
    });
    match asked {
        Err(error) if error.raw_os_error() == Some(nix::libc::ENOENT) => Ok(None),
        asked => asked.map(|()| found),
    }
}

fn message(kind: u16, flags: u16, attributes: &Attributes) -> Vec<u8> {
    let length = u32::try_from(20 + attributes.bytes().len()).expect("a message is shorter than 4 GiB");
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(((SUBSYSTEM << 8) | kind).to_ne_bytes());
    bytes.extend((REQUEST | flags).to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([FAMILY, 0, 0, 0]);
    bytes.extend(attributes.bytes());
    bytes
}

fn flow(attributes: &[u8]) -> Option<Flow> {
    let (original, reply) = (find(attributes, ORIGINAL)?, find(attributes, REPLY)?);
    if find(find(original, TRANSPORT)?, TRANSPORT_NUMBER)? != [UDP] {
        return None;
    }
    Some(Flow {
        frontend: end(original, DESTINATION_ADDRESS, DESTINATION_PORT)?,
        backend: end(reply, SOURCE_ADDRESS, SOURCE_PORT)?,
    })
}

/// Who answers.
fn backend(attributes: &[u8]) -> Option<Ipv4Addr> {
    let source: [u8; 4] = find(find(find(attributes, REPLY)?, ADDRESSES)?, SOURCE_ADDRESS)?.try_into().ok()?;
    Some(source.into())
}

fn end(tuple: &[u8], address: u16, port: u16) -> Option<(Ipv4Addr, u16)> {
    let address: [u8; 4] = find(find(tuple, ADDRESSES)?, address)?.try_into().ok()?;
    let port: [u8; 2] = find(find(tuple, TRANSPORT)?, port)?.try_into().ok()?;
    Some((address.into(), u16::from_be_bytes(port)))
}
