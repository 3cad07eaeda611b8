//! The kernel's packet filter by netlink: transactions of nf_tables, and connection tracking.
//!
//! The program `nft` would do, but takes 5 to 10 ms and reads back all rules before each change; a change of one Service among a
//! thousand has to be in the kernel within 5. The message formats are the kernel's `linux/netfilter/nf_tables.h`.

mod attributes;
mod batch;
mod conntrack;
mod expression;
mod socket;

pub(crate) use batch::{Batch, Chain, Element, Hook, NamedSet, SetType, Verdict};
pub(crate) use conntrack::{Flow, find_backend, find_destination, forget_backend, forget_flows};
#[cfg(test)]
pub(crate) use conntrack::{forget, led_to};
pub(crate) use expression::{Expression, Field, TRANSLATED, address_and_port};
pub(crate) use socket::NetfilterSocket;
