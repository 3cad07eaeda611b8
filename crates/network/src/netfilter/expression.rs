//! What rules are made of: each expression reads or writes registers of four bytes, or ends the rule.

use std::{net::Ipv4Addr, time::Duration};

use super::{attributes::Attributes, batch::Verdict};

/// The verdict register.
const VERDICT: u32 = 0;
/// The first of sixteen registers of four bytes; [`Expression`] counts from there.
const FIRST_REGISTER: u32 = 8;

/// The status bit of a connection whose destination was translated: the kernel's `IPS_DST_NAT`.
pub(crate) const TRANSLATED: [u8; 4] = 0x20_u32.to_ne_bytes();

// Types of attributes, from linux/netfilter/nf_tables.h.
const LIST_ELEM: u16 = 1;
const EXPR_NAME: u16 = 1;
const EXPR_DATA: u16 = 2;
const DATA_VERDICT: u16 = 2;

/// What can be loaded from a packet.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Field {
    /// Source address.
    Source,
    /// Destination address.
    Destination,
    /// Transport protocol's number.
    Transport,
    /// Destination port.
    Port,
}

/// One step of a rule. Registers are numbered from 0, four bytes each.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expression<'a> {
    /// Loads a field of the packet.
    Load(Field, u32),
    /// Loads the connection's status bits.
    LoadConnectionStatus(u32),
    /// Marks the packet with what the register holds.
    Mark(u32),
    /// Loads the number of the device that the packet came in by.
    LoadDevice(u32),
    /// Loads its name, into four registers.
    LoadDeviceName(u32),
    /// Loads the number of the device that the packet is to leave by.
    LoadWayOut(u32),
    /// Loads a random number below the second.
    Random(u32, u32),
    /// Puts bytes, at most sixteen, into registers from this one on.
    Set(u32, &'a [u8]),
    /// Keeps the bits of one register that are in the mask.
    Mask(u32, [u8; 4]),
    /// Goes on only if the register holds these bytes.
    Equal(u32, &'a [u8]),
    /// Goes on only if the register does not hold these bytes.
    NotEqual(u32, &'a [u8]),
    /// Goes on only if the named set has the key that starts in the register.
    InSet(&'a str, u32),
    /// Looks the key up in a map of verdicts, and does what it says.
    VerdictMap { map: &'a str, key: u32 },
    /// Remembers the key in a set for a time.
    Remember { set: &'a str, key: u32, timeout: Duration },
    /// Translates the destination to the address in one register and the port in another.
    Dnat { address: u32, port: u32 },
    /// Translates the source to the address that the packet leaves by.
    Masquerade,
    /// The packet is of no connection.
    Untracked,
    /// Answers that the port is unreachable.
    Refuse,
    /// Answers that there is no such connection.
    Reset,
    /// Ends the rule.
    Verdict(Verdict<'a>),
}

impl Expression<'_> {
    /// Appends the expression to a rule's list.
    pub(super) fn write(&self, rule: &mut Attributes) {
        let name = match self {
            Self::Load(Field::Transport, _)
            | Self::Mark(_)
            | Self::LoadDevice(_)
            | Self::LoadDeviceName(_)
            | Self::LoadWayOut(_) => "meta",
            Self::Load(..) => "payload",
            Self::LoadConnectionStatus(_) => "ct",
            Self::Random(..) => "numgen",
            Self::Set(..) | Self::Verdict(_) => "immediate",
            Self::Mask(..) => "bitwise",
            Self::Equal(..) | Self::NotEqual(..) => "cmp",
            Self::InSet(..) | Self::VerdictMap { .. } => "lookup",
            Self::Remember { .. } => "dynset",
            Self::Dnat { .. } => "nat",
            Self::Masquerade => "masq",
            Self::Untracked => "notrack",
            Self::Refuse | Self::Reset => "reject",
        };
        rule.nest(LIST_ELEM, |element| {
            element.put_text(EXPR_NAME, name).nest(EXPR_DATA, |data| self.write_data(data));
        });
    }

    fn write_data(&self, data: &mut Attributes) {
        match *self {
            Self::Load(Field::Source, to) => payload(data, to, 1, 12, 4),
            Self::Load(Field::Destination, to) => payload(data, to, 1, 16, 4),
            Self::Load(Field::Port, to) => payload(data, to, 2, 2, 2),
            // NFTA_META_DREG, NFTA_META_KEY: NFT_META_L4PROTO.
            Self::Load(Field::Transport, to) => {
                data.put_u32(1, register(to)).put_u32(2, 16);
            }
            // NFTA_META_KEY: NFT_META_MARK, NFTA_META_SREG.
            Self::Mark(from) => {
                data.put_u32(2, 3).put_u32(3, register(from));
            }
            // NFT_META_IIF.
            Self::LoadDevice(to) => {
                data.put_u32(1, register(to)).put_u32(2, 4);
            }
            // NFT_META_IIFNAME.
            Self::LoadDeviceName(to) => {
                data.put_u32(1, register(to)).put_u32(2, 6);
            }
            // NFT_META_OIF.
            Self::LoadWayOut(to) => {
                data.put_u32(1, register(to)).put_u32(2, 5);
            }
            // NFTA_CT_DREG, NFTA_CT_KEY: NFT_CT_STATUS.
            Self::LoadConnectionStatus(to) => {
                data.put_u32(1, register(to)).put_u32(2, 2);
            }
            // NFTA_NG_DREG, _MODULUS, _TYPE: NFT_NG_RANDOM.
            Self::Random(to, below) => {
                data.put_u32(1, register(to)).put_u32(2, below).put_u32(3, 1);
            }
            // NFTA_IMMEDIATE_DREG, _DATA.
            Self::Set(to, bytes) => {
                data.put_u32(1, register(to)).put_value(2, bytes);
            }
            Self::Verdict(verdict) => {
                data.put_u32(1, VERDICT).nest(2, |value| write_verdict(value, verdict));
            }
            // NFTA_BITWISE_SREG, _DREG, _LEN, _MASK, _XOR.
            Self::Mask(of, mask) => {
                data.put_u32(1, register(of)).put_u32(2, register(of)).put_u32(3, 4);
                data.put_value(4, &mask);
                data.put_value(5, &[0; 4]);
            }
            Self::Equal(of, bytes) => compare(data, of, 0, bytes),
            Self::NotEqual(of, bytes) => compare(data, of, 1, bytes),
            Self::InSet(set, key) => lookup(data, set, key, None),
            Self::VerdictMap { map, key } => lookup(data, map, key, Some(VERDICT)),
            // NFTA_DYNSET_SET_NAME, _OP: NFT_DYNSET_OP_UPDATE, _SREG_KEY, _TIMEOUT.
            Self::Remember { set, key, timeout } => {
                let milliseconds = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
                data.put_text(1, set).put_u32(3, 1).put_u32(4, register(key)).put_u64(6, milliseconds);
            }
            // NFTA_NAT_TYPE: NFT_NAT_DNAT, _FAMILY: NFPROTO_IPV4, _REG_ADDR_MIN, _REG_PROTO_MIN.
            Self::Dnat { address, port } => {
                data.put_u32(1, 1).put_u32(2, 2).put_u32(3, register(address)).put_u32(5, register(port));
            }
            Self::Masquerade | Self::Untracked => {}
            // NFTA_REJECT_TYPE: NFT_REJECT_ICMP_UNREACH, _ICMP_CODE: ICMP_PORT_UNREACH.
            Self::Refuse => {
                data.put_u32(1, 0).put(2, &[3]);
            }
            // NFT_REJECT_TCP_RST.
            Self::Reset => {
                data.put_u32(1, 1);
            }
        }
    }
}

fn register(number: u32) -> u32 {
    FIRST_REGISTER + number
}

fn payload(data: &mut Attributes, to: u32, base: u32, offset: u32, length: u32) {
    // NFTA_PAYLOAD_DREG, _BASE, _OFFSET, _LEN.
    data.put_u32(1, register(to)).put_u32(2, base).put_u32(3, offset).put_u32(4, length);
}

fn compare(data: &mut Attributes, of: u32, operation: u32, bytes: &[u8]) {
    // NFTA_CMP_SREG, _OP, _DATA.
    data.put_u32(1, register(of)).put_u32(2, operation).put_value(3, bytes);
}

fn lookup(data: &mut Attributes, set: &str, key: u32, value: Option<u32>) {
    // NFTA_LOOKUP_SET, _SREG, _DREG.
    data.put_text(1, set).put_u32(2, register(key));
    if let Some(value) = value {
        data.put_u32(3, value);
    }
}

pub(super) fn write_verdict(data: &mut Attributes, verdict: Verdict<'_>) {
    const DROP: u32 = 0;
    const ACCEPT: u32 = 1;
    /// `NFT_GOTO`, −4 in two's complement.
    const GOTO: u32 = 0xffff_fffc;
    data.nest(DATA_VERDICT, |data| match verdict {
        Verdict::Accept => {
            data.put_u32(1, ACCEPT);
        }
        Verdict::Drop => {
            data.put_u32(1, DROP);
        }
        Verdict::Goto(chain) => {
            data.put_u32(1, GOTO).put_text(2, chain);
        }
    });
}

/// Address and port as two registers hold them.
pub(crate) fn address_and_port(address: Ipv4Addr, port: u16) -> [u8; 8] {
    let [a, b, c, d] = address.octets();
    let [high, low] = port.to_be_bytes();
    [a, b, c, d, high, low, 0, 0]
}
