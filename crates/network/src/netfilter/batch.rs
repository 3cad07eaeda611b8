//! A transaction of nf_tables: many changes that take effect at one instant, or not at all.

use std::time::Duration;

use super::{
    attributes::Attributes,
    expression::{Expression, write_verdict},
};

// Message types, from linux/netfilter/nfnetlink.h and nf_tables.h.
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const SUBSYSTEM: u16 = 10;
const NEW_TABLE: u16 = 0;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const GET_CHAIN: u16 = 4;
const DELETE_CHAIN: u16 = 5;
const NEW_RULE: u16 = 6;
const DELETE_RULE: u16 = 8;
const NEW_SET: u16 = 9;
const DELETE_SET: u16 = 11;
const NEW_ELEMENT: u16 = 12;
const DELETE_ELEMENT: u16 = 14;

// Flags of netlink messages.
const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;

/// `AF_INET`: rules see IPv4 only.
const FAMILY: u8 = 2;
/// Length of `nlmsghdr`.
const HEADER: usize = 16;

/// Where the kernel calls a chain.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Hook {
    Prerouting,
    Input,
    Output,
    Postrouting,
}

/// A chain that starts at a hook.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chain<'a> {
    pub(crate) name: &'a str,
    /// `nat` or `filter`.
    pub(crate) kind: &'a str,
    pub(crate) hook: Hook,
    pub(crate) priority: i32,
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Verdict<'a> {
    Accept,
    Drop,
    /// On with that chain, never back.
    Goto(&'a str),
}

/// A set or map that rules refer to by name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NamedSet<'a> {
    pub(crate) name: &'a str,
    pub(crate) key: SetType,
    /// What keys lead to, for a map.
    pub(crate) value: Option<SetType>,
    /// Elements come from packets, and go after a time.
    pub(crate) timeout: Option<Duration>,
}

/// A type of keys or values, as the program `nft` will print it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SetType {
    Address,
    AddressPair,
    AddressTransportPort,
    Verdict,
}

impl SetType {
    /// The number by which `nft` knows the type (six bits for each part), and its length in bytes.
    fn encoding(self) -> (u32, u32) {
        const ADDRESS: u32 = 7;
        const TRANSPORT: u32 = 12;
        const PORT: u32 = 13;
        match self {
            Self::Address => (ADDRESS, 4),
            Self::AddressPair => ((ADDRESS << 6) | ADDRESS, 8),
            Self::AddressTransportPort => ((ADDRESS << 12) | (TRANSPORT << 6) | PORT, 12),
            // NFT_DATA_VERDICT; the kernel knows its length.
            Self::Verdict => (0xffff_ff00, 0),
        }
    }
}

/// A request for a chain: it is answered, or there is none.
pub(super) fn get_chain(table: &str, chain: &str) -> Vec<u8> {
    let mut batch = Batch { table, bytes: Vec::new(), last: 0, messages: 0, sets: 0 };
    let mut attributes = Attributes::default();
    attributes.put_text(1, table).put_text(3, chain);
    batch.push((SUBSYSTEM << 8) | GET_CHAIN, ACK, FAMILY, 0, &attributes);
    batch.bytes
}

/// Changes to one table, in order.
#[derive(Debug)]
pub(crate) struct Batch<'t> {
    table: &'t str,
    bytes: Vec<u8>,
    /// Where the last message starts: it asks for the answer.
    last: usize,
    /// Messages so far, the beginning included; each is numbered by those before it.
    messages: u32,
    sets: u32,
}

impl<'t> Batch<'t> {
    pub(crate) fn new(table: &'t str) -> Self {
        let mut batch = Self { table, bytes: Vec::new(), last: 0, messages: 0, sets: 0 };
        batch.push(BATCH_BEGIN, 0, 0, SUBSYSTEM, &Attributes::default());
        batch
    }

    /// Whether nothing was asked for yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.messages == 1
    }

    /// How long the message is.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() + HEADER + 4
    }

    /// The whole as bytes, and the sequence number of the message that is answered.
    pub(super) fn finish(mut self) -> (Vec<u8>, u32) {
        let flags = self.last + 6;
        self.bytes[flags..flags + 2].copy_from_slice(&(REQUEST | ACK | CREATE | APPEND).to_ne_bytes());
        let answered = self.messages - 1;
        self.push(BATCH_END, 0, 0, SUBSYSTEM, &Attributes::default());
        (self.bytes, answered)
    }

    fn push(&mut self, kind: u16, flags: u16, family: u8, resource: u16, attributes: &Attributes) {
        self.last = self.bytes.len();
        let sequence = self.messages;
        self.messages += 1;
        let length = u32::try_from(HEADER + 4 + attributes.bytes().len()).expect("a message is shorter than 4 GiB");
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((REQUEST | flags).to_ne_bytes());
        self.bytes.extend(sequence.to_ne_bytes());
        self.bytes.extend([0; 4]);
        self.bytes.extend([family, 0]);
        self.bytes.extend(resource.to_be_bytes());
        self.bytes.extend(attributes.bytes());
    }

    fn change(&mut self, kind: u16, attributes: &Attributes) {
        // CREATE and APPEND mean nothing to a deletion.
        self.push((SUBSYSTEM << 8) | kind, CREATE | APPEND, FAMILY, 0, attributes);
    }

    pub(crate) fn add_table(&mut self) {
        self.change_table(NEW_TABLE, self.table);
    }

    /// Deletes a table, whichever, with all that is in it, if it is there.
    pub(crate) fn drop_table(&mut self, table: &str) {
        // Deleting needs it to be there.
        self.change_table(NEW_TABLE, table);
        self.change_table(DELETE_TABLE, table);
    }

    fn change_table(&mut self, kind: u16, table: &str) {
        let mut attributes = Attributes::default();
        attributes.put_text(1, table);
        self.change(kind, &attributes);
    }

    pub(crate) fn add_base_chain(&mut self, chain: Chain<'_>) {
        let hook: u32 = match chain.hook {
            Hook::Prerouting => 0,
            Hook::Input => 1,
            Hook::Output => 3,
            Hook::Postrouting => 4,
        };
        let mut attributes = Attributes::default();
        attributes.put_text(1, self.table).put_text(3, chain.name);
        attributes.nest(4, |data| {
            data.put_u32(1, hook).put(2, &chain.priority.to_be_bytes());
        });
        attributes.put_text(7, chain.kind);
        self.change(NEW_CHAIN, &attributes);
    }

    pub(crate) fn add_chain(&mut self, name: &str) {
        let mut attributes = Attributes::default();
        attributes.put_text(1, self.table).put_text(3, name);
        self.change(NEW_CHAIN, &attributes);
    }

    pub(crate) fn delete_chain(&mut self, name: &str) {
        let mut attributes = Attributes::default();
        attributes.put_text(1, self.table).put_text(3, name);
        self.change(DELETE_CHAIN, &attributes);
    }

    /// Appends a rule to a chain.
    pub(crate) fn add_rule(&mut self, chain: &str, expressions: &[Expression<'_>]) {
        let mut attributes = Attributes::default();
        attributes.put_text(1, self.table).put_text(2, chain);
        attributes.nest(4, |list| expressions.iter().for_each(|expression| expression.write(list)));
        self.change(NEW_RULE, &attributes);
    }

    /// Deletes all rules of a chain.
    pub(crate) fn flush_chain(&mut self, chain: &str) {
        let mut attributes = Attributes::default();
        attributes.put_text(1, self.table).put_text(2, chain);
        self.change(DELETE_RULE, &attributes);
    }

    pub(crate) fn add_set(&mut self, set: NamedSet<'_>) {
        const MAP: u32 = 0x8;
        const TIMEOUT: u32 = 0x10;
        const EVAL: u32 = 0x20;
        self.sets += 1;
        let mut flags = 0;
        let mut attributes = Attributes::default();
        attributes.put_text(1, self.table).put_text(2, set.name).put_u32(10, self.sets);
        let (key_type, key_length) = set.key.encoding();
        attributes.put_u32(4, key_type).put_u32(5, key_length);
        if let Some((value_type, value_length)) = set.value.map(SetType::encoding) {
            flags |= MAP;
            attributes.put_u32(6, value_type).put_u32(7, value_length);
        }
        if let Some(timeout) = set.timeout {
            flags |= TIMEOUT | EVAL;
            attributes.put_u64(11, u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        }
        attributes.put_u32(3, flags);
        self.change(NEW_SET, &attributes);
    }

    pub(crate) fn delete_set(&mut self, name: &str) {
        let mut attributes = Attributes::default();
        attributes.put_text(1, self.table).put_text(2, name);
        self.change(DELETE_SET, &attributes);
    }

    pub(crate) fn add_elements(&mut self, set: &str, elements: &[Element<'_>]) {
        self.elements(NEW_ELEMENT, set, elements);
    }

    pub(crate) fn delete_elements(&mut self, set: &str, elements: &[Element<'_>]) {
        self.elements(DELETE_ELEMENT, set, elements);
    }

    fn elements(&mut self, kind: u16, set: &str, elements: &[Element<'_>]) {
        /// An element takes up to some 300 bytes, most of them a chain's name, and a list of them is one attribute below 64 KiB.
        const ELEMENTS_A_MESSAGE: usize = 200;
        for elements in elements.chunks(ELEMENTS_A_MESSAGE) {
            let mut attributes = Attributes::default();
            attributes.put_text(1, self.table).put_text(2, set);
            attributes.nest(3, |list| elements.iter().for_each(|element| element.write(list)));
            self.change(kind, &attributes);
        }
    }
}

/// A member of a set or map.
#[derive(Debug)]
pub(crate) enum Element<'a> {
    Key(&'a [u8]),
    Verdict(&'a [u8], Verdict<'a>),
}

impl Element<'_> {
    fn write(&self, list: &mut Attributes) {
        let (Self::Key(key) | Self::Verdict(key, _)) = self;
        list.nest(1, |element| {
            element.put_value(1, key);
            match self {
                Self::Key(_) => {}
                Self::Verdict(_, verdict) => {
                    element.nest(2, |data| write_verdict(data, *verdict));
                }
            }
        });
    }
}
