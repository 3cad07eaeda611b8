//! Finds the answers among the packets that a pod sends.

use std::{collections::HashMap, net::Ipv4Addr};

use etherparse::{Ipv4HeaderSlice, TcpHeaderSlice};

use super::head::ask_to_close;

/// Connections that are remembered; past that they begin anew, which costs a packet that is not looked at twice.
const MOST: usize = 65_536;
/// Where the checksum is in a TCP header.
const CHECKSUM: std::ops::Range<usize> = 16..18;

/// Both ends of a connection.
type Ends = (Ipv4Addr, u16, Ipv4Addr, u16);

/// What was seen last of a connection.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// How far the server had heard its client.
    heard: u32,
    /// Where the answer begins that it has heard that for, if that was seen: it may be sent again.
    head: Option<u32>,
}

/// The connections of pods that are to stop.
#[derive(Debug, Default)]
pub(super) struct Flows {
    seen: HashMap<Ends, Seen>,
}

impl Flows {
    /// Looks at a packet from a server to its client, and asks the client to close where an answer begins.
    ///
    /// An answer begins where the server has heard more of its client than when it spoke last. What is seen first of a connection may be
    /// the middle of one, whatever its bytes look like: nothing is changed before the next.
    pub(super) fn look(&mut self, packet: &mut [u8]) {
        let Ok(ip) = Ipv4HeaderSlice::from_slice(packet) else { return };
        let (from, to, start) = (ip.source_addr(), ip.destination_addr(), ip.slice().len());
        let (protocol, is_part) = (ip.protocol(), ip.is_fragmenting_payload());
        let end = usize::from(ip.total_len());
        if protocol != etherparse::ip_number::TCP || is_part || end > packet.len() {
            return;
        }
        let Some(segment) = packet.get_mut(start..end) else { return };
        let Ok(tcp) = TcpHeaderSlice::from_slice(segment) else { return };
        let ends = (from, tcp.source_port(), to, tcp.destination_port());
        let (sequence, heard, is_last) = (tcp.sequence_number(), tcp.acknowledgment_number(), tcp.fin() || tcp.rst());
        let payload = tcp.slice().len();
        if segment.len() > payload && self.begins(ends, sequence, heard) && ask_to_close(&mut segment[payload..]) {
            let Ok(tcp) = TcpHeaderSlice::from_slice(segment) else { return };
            let Ok(checksum) = tcp.calc_checksum_ipv4_raw(from.octets(), to.octets(), &segment[payload..]) else { return };
            segment[CHECKSUM].copy_from_slice(&checksum.to_be_bytes());
        }
        if is_last {
            self.seen.remove(&ends);
        }
    }

    /// Whether an answer begins with this segment.
    fn begins(&mut self, ends: Ends, sequence: u32, heard: u32) -> bool {
        if self.seen.len() >= MOST && !self.seen.contains_key(&ends) {
            self.seen.clear();
        }
        let seen = self.seen.entry(ends).or_insert(Seen { heard, head: None });
        if seen.heard != heard {
            *seen = Seen { heard, head: Some(sequence) };
        }
        seen.head == Some(sequence)
    }
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::*;

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nDate: Wed, 25 Nov 2026 04:00:00 GMT\r\n\r\n";

    fn packet(sequence: u32, heard: u32, payload: &[u8]) -> Vec<u8> {
        let builder = PacketBuilder::ipv4([10, 96, 0, 1], [10, 244, 0, 2], 64).tcp(80, 40_000, sequence, 500).ack(heard);
        let mut packet = Vec::new();
        builder.write(&mut packet, payload).unwrap();
        packet
    }

    /// Whether it is changed; its checksum is right in either case.
    fn changes(flows: &mut Flows, sequence: u32, heard: u32, payload: &[u8]) -> bool {
        let before = packet(sequence, heard, payload);
        let mut after = before.clone();
        flows.look(&mut after);
        assert_eq!(after.len(), before.len());
        assert_eq!(after, packet(sequence, heard, &after[40..]));
        after != before
    }

    #[test]
    fn the_beginning_of_an_answer_is_changed_and_nothing_else() {
        let mut flows = Flows::default();
        assert!(!changes(&mut flows, 1_000, 1, ANSWER), "it may be a part of a body");
        assert!(!changes(&mut flows, 2_000, 1, ANSWER));
        assert!(!changes(&mut flows, 3_000, 50, b""));
        assert!(changes(&mut flows, 3_000, 50, ANSWER), "to the next request");
        assert!(changes(&mut flows, 3_000, 50, ANSWER), "sent again");
        assert!(!changes(&mut flows, 4_000, 50, ANSWER), "in the middle of its body");
        assert!(changes(&mut flows, 5_000, 90, ANSWER), "and to the next");
        assert!(!changes(&mut flows, 4_000, 95, b"\0\x01HTTP"));
    }

    #[test]
    fn what_is_no_packet_of_tcp_is_left_alone() {
        let mut flows = Flows::default();
        let whole = packet(1, 1, ANSWER);
        for cut in 0..whole.len() {
            let mut part = whole[..cut].to_vec();
            flows.look(&mut part);
            assert_eq!(part, whole[..cut]);
        }
        let mut datagram = Vec::new();
        PacketBuilder::ipv4([10, 96, 0, 1], [10, 244, 0, 2], 64).udp(80, 40_000).write(&mut datagram, ANSWER).unwrap();
        let before = datagram.clone();
        flows.look(&mut datagram);
        assert_eq!(datagram, before);
    }
}
