//! Who holds which address and which port.

use std::{collections::HashMap, hash::Hash, net::Ipv4Addr, ops::RangeInclusive};

use crate::options::{Cidr, Random};

/// Random probes before the range is searched in order.
const PROBES: usize = 32;

/// Addresses and ports that are taken, each with the Service that holds it.
#[derive(Debug)]
pub(crate) struct Pool {
    cidr: Cidr,
    node_ports: RangeInclusive<u16>,
    addresses: HashMap<Ipv4Addr, String>,
    ports: HashMap<u16, String>,
}

/// Why something could not be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Somebody else has it.
    Taken,
    /// It is not ours to give.
    OutOfRange,
    /// Nothing is left.
    Full,
}

impl Pool {
    pub(crate) fn new(cidr: Cidr, node_ports: RangeInclusive<u16>) -> Self {
        Self { cidr, node_ports, addresses: HashMap::new(), ports: HashMap::new() }
    }

    pub(crate) fn cidr(&self) -> Cidr {
        self.cidr
    }

    pub(crate) fn node_ports(&self) -> &RangeInclusive<u16> {
        &self.node_ports
    }

    /// Takes this address; `true` where it was free, `false` where the owner had it already.
    pub(crate) fn take_address(&mut self, address: Ipv4Addr, owner: &str) -> Result<bool, Refused> {
        // The first address names the network, the last is for broadcasts.
        let last = self.cidr.nth(self.cidr.size() - 1);
        if !self.cidr.contains(address) || address == self.cidr.address || address == last {
            return Err(Refused::OutOfRange);
        }
        take(&mut self.addresses, address, owner)
    }

    /// Takes a free address. As upstream, the lower end of the range is left to those who ask for an address by number.
    pub(crate) fn next_address(&mut self, owner: &str, random: &dyn Random) -> Result<Ipv4Addr, Refused> {
        let size = self.cidr.size();
        // Upstream: min(max(16, size / 16), 256)
        let reserved = if size > 64 { (size / 16).clamp(16, 256) } else { 0 };
        let spread = u64::from(size.saturating_sub(reserved).max(1));
        for _ in 0..PROBES {
            let offset = reserved + u32::try_from(random.next_u64() % spread).unwrap_or(0);
            let address = self.cidr.nth(offset);
            if self.take_address(address, owner) == Ok(true) {
                return Ok(address);
            }
        }
        let in_order = (reserved..size).chain(0..reserved).map(|offset| self.cidr.nth(offset));
        let free = in_order.filter(|address| !self.addresses.contains_key(address)).collect::<Vec<_>>();
        free.into_iter().find(|address| self.take_address(*address, owner) == Ok(true)).ok_or(Refused::Full)
    }

    /// Takes this port; `true` where it was free, `false` where the owner had it already.
    pub(crate) fn take_port(&mut self, port: u16, owner: &str) -> Result<bool, Refused> {
        if !self.node_ports.contains(&port) {
            return Err(Refused::OutOfRange);
        }
        take(&mut self.ports, port, owner)
    }

    /// Takes a free port.
    pub(crate) fn next_port(&mut self, owner: &str, random: &dyn Random) -> Result<u16, Refused> {
        let (first, last) = (*self.node_ports.start(), *self.node_ports.end());
        let size = u64::from(last.saturating_sub(first)) + 1;
        for _ in 0..PROBES {
            let port = first.saturating_add(u16::try_from(random.next_u64() % size).unwrap_or(0));
            if self.take_port(port, owner) == Ok(true) {
                return Ok(port);
            }
        }
        let free = (first..=last).find(|port| !self.ports.contains_key(port)).ok_or(Refused::Full)?;
        self.ports.insert(free, owner.to_owned());
        Ok(free)
    }

    /// Gives an address back, if this owner has it.
    pub(crate) fn release_address(&mut self, address: Ipv4Addr, owner: &str) {
        if self.addresses.get(&address).is_some_and(|own| own == owner) {
            self.addresses.remove(&address);
        }
    }

    /// Gives a port back, if this owner has it.
    pub(crate) fn release_port(&mut self, port: u16, owner: &str) {
        if self.ports.get(&port).is_some_and(|own| own == owner) {
            self.ports.remove(&port);
        }
    }
}

fn take<K: Eq + Hash>(taken: &mut HashMap<K, String>, key: K, owner: &str) -> Result<bool, Refused> {
    match taken.get(&key) {
        Some(own) if own == owner => Ok(false),
        Some(_) => Err(Refused::Taken),
        None => {
            taken.insert(key, owner.to_owned());
            Ok(true)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::SystemRandom;

    fn pool(prefix: u8) -> Pool {
        Pool::new(Cidr { address: Ipv4Addr::new(10, 96, 0, 0), prefix }, 30000..=30002)
    }

    #[test]
    fn every_address_but_the_ends_is_given_once() {
        let mut pool = pool(29);
        let mut given: Vec<_> = (0..6).map(|n| pool.next_address(&format!("s{n}"), &SystemRandom).unwrap()).collect();
        given.sort();
        assert_eq!(given, (1..=6).map(|host| Ipv4Addr::new(10, 96, 0, host)).collect::<Vec<_>>());
        assert_eq!(pool.next_address("more", &SystemRandom), Err(Refused::Full));
        assert_eq!(pool.take_address(Ipv4Addr::new(10, 96, 0, 7), "x"), Err(Refused::OutOfRange));
    }

    #[test]
    fn an_owner_keeps_what_it_has() {
        let mut pool = pool(16);
        let address = Ipv4Addr::new(10, 96, 0, 10);
        assert_eq!(pool.take_address(address, "a"), Ok(true));
        assert_eq!(pool.take_address(address, "a"), Ok(false));
        assert_eq!(pool.take_address(address, "b"), Err(Refused::Taken));
        pool.release_address(address, "b");
        assert_eq!(pool.take_address(address, "b"), Err(Refused::Taken));
        pool.release_address(address, "a");
        assert_eq!(pool.take_address(address, "b"), Ok(true));
    }

    #[test]
    fn ports_run_out() {
        let mut pool = pool(16);
        assert!((0..3).all(|n| pool.next_port(&n.to_string(), &SystemRandom).is_ok()));
        assert_eq!(pool.next_port("more", &SystemRandom), Err(Refused::Full));
        assert_eq!(pool.take_port(80, "x"), Err(Refused::OutOfRange));
    }
}
