//! Routes as nf_tables rules: what is committed, and the transaction from there to what is wanted.
//!
//! One map leads from each frontend to the chain of its route, so the kernel's work for a packet, and ours for a change,
//! does not grow with the number of Services. A route's chain picks a backend at random and translates to it. Connections that are
//! established stay with their backend whatever happens here: translation is decided once, by connection tracking.

mod affinity;
mod rebuild;
mod skeleton;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::Ipv4Addr,
};

use tracing::warn;
use windlass_planner::proxy::{Backend, Frontend, Route, RouteKey, Transport};

use crate::{
    Addresses,
    netfilter::{Batch, Element, Expression, Flow, NetfilterSocket, Verdict, address_and_port, forget_flows},
};

/// Names of our table, of which one is there at a time; the machine's namespace has no other.
const TABLES: [&str; 2] = ["windlass", "windlass-2"];
/// From frontends to the chains of routes.
const SERVICES: &str = "services";
/// Pairs of a backend's address with itself: a pod that was led back to itself must see another source than its own address.
const HAIRPIN: &str = "hairpin";

/// A change of one route: gone when there is no new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) key: RouteKey,
    pub(crate) route: Option<Route>,
}

/// The rules of one network namespace.
#[derive(Debug)]
pub(crate) struct Rules {
    socket: NetfilterSocket,
    /// The table that is there, unless that is unknown.
    table: &'static str,
    addresses: Addresses,
    /// Ports of the machine that what pods send to the outside is led to.
    egress: Vec<(Transport, u16)>,
    /// What the kernel has; only routes with backends have rules, the others are refused by being absent.
    committed: BTreeMap<RouteKey, Route>,
    owners: BTreeMap<Frontend, RouteKey>,
    /// How many backends of committed routes have this address.
    backends: BTreeMap<Ipv4Addr, usize>,
    /// How many backends of committed routes are this pod.
    pods: BTreeMap<String, usize>,
    /// Set when the kernel may hold something else than `committed`: until the first commit, and after one that failed.
    unknown: bool,
}

impl Rules {
    /// Nothing is changed before the first [`Rules::commit`], so that rules of an earlier run go on leading until then.
    pub(crate) fn new(socket: NetfilterSocket, addresses: Addresses, egress: Vec<(Transport, u16)>) -> Self {
        Self {
            socket,
            table: TABLES[0],
            addresses,
            egress,
            committed: BTreeMap::new(),
            owners: BTreeMap::new(),
            backends: BTreeMap::new(),
            pods: BTreeMap::new(),
            unknown: true,
        }
    }

    /// Whether a committed route leads to the pod, as far as is known.
    pub(crate) fn lead_to(&self, pod_uid: &str) -> bool {
        self.unknown || self.pods.contains_key(pod_uid)
    }

    /// Makes all changes take effect at one instant. After an error nothing has changed in the kernel, and the next commit,
    /// with no changes if need be, writes everything anew, still in one instant.
    pub(crate) fn commit(&mut self, changes: Vec<Change>) -> io::Result<()> {
        // All old routes go before the new ones come: a frontend may move from one to another.
        let old: Vec<_> = changes.iter().map(|change| self.remove(&change.key)).collect();
        let new = changes.into_iter().map(|change| change.route.and_then(|route| self.insert(route)));
        let changes: Vec<_> = old.into_iter().zip(new).collect();
        if let Err(error) = self.write(&changes) {
            self.unknown = true;
            return Err(error);
        }
        self.unknown = false;
        self.forget_stale_flows(&changes)
    }

    fn write(&mut self, changes: &[(Option<Route>, Option<Route>)]) -> io::Result<()> {
        let table = if self.unknown { TABLES[0] } else { self.table };
        let mut batch = Batch::new(table);
        if self.unknown {
            self.write_all(&mut batch);
        } else {
            self.write_changes(&mut batch, changes);
        }
        if batch.len() > self.socket.limit() {
            return self.rebuild();
        }
        self.socket.commit(batch)?;
        self.table = table;
        Ok(())
    }

    fn remove(&mut self, key: &RouteKey) -> Option<Route> {
        let old = self.committed.remove(key)?;
        self.count(&old, false);
        Some(old)
    }

    /// Takes a route in; what of it is in effect then, if anything.
    fn insert(&mut self, mut route: Route) -> Option<Route> {
        if route.backends.is_empty() {
            return None;
        }
        route.frontends.retain(|frontend| match self.owners.get(frontend) {
            Some(owner) => {
                warn!(?frontend, %owner, route = %route.key, "two have the same address and port; the first keeps it");
                false
            }
            None => true,
        });
        // One address and port is one backend, whoever says it is theirs.
        let mut seen = BTreeSet::new();
        route.backends.retain(|backend| seen.insert((backend.address, backend.port)));
        self.count(&route, true);
        self.committed.insert(route.key.clone(), route.clone());
        Some(route)
    }

    fn count(&mut self, route: &Route, add: bool) {
        for frontend in &route.frontends {
            if add { drop(self.owners.insert(*frontend, route.key.clone())) } else { drop(self.owners.remove(frontend)) }
        }
        for Backend { address, pod, .. } in &route.backends {
            adjust(&mut self.backends, *address, add);
            if let Some(pod) = pod {
                adjust(&mut self.pods, pod.clone(), add);
            }
        }
    }

    /// The whole table in place of whatever there is.
    fn write_all(&self, batch: &mut Batch<'_>) {
        TABLES.into_iter().for_each(|table| batch.drop_table(table));
        batch.add_table();
        skeleton::write(batch, &self.addresses, &self.egress);
        let pairs: Vec<_> = self.backends.keys().copied().map(pair).collect();
        batch.add_elements(HAIRPIN, &keys(&pairs));
        for route in self.committed.values() {
            write_route(batch, None, route);
            write_frontends(batch, route.frontends.iter(), &route.key.to_string());
        }
    }

    fn write_changes(&self, batch: &mut Batch<'_>, changes: &[(Option<Route>, Option<Route>)]) {
        let routes = |route: &Option<Route>| route.clone();
        let addresses = |routes: Vec<Route>| -> BTreeSet<Ipv4Addr> {
            routes.iter().flat_map(|route| route.backends.iter().map(|backend| backend.address)).collect()
        };
        let old = addresses(changes.iter().filter_map(|(old, _)| routes(old)).collect());
        let new = addresses(changes.iter().filter_map(|(_, new)| routes(new)).collect());
        let come: Vec<_> = new.difference(&old).copied().map(pair).collect();
        // An address that other routes have too stays.
        let gone = old.difference(&new).filter(|address| !self.backends.contains_key(address));
        let gone: Vec<_> = gone.copied().map(pair).collect();
        batch.add_elements(HAIRPIN, &keys(&come));
        batch.delete_elements(HAIRPIN, &keys(&gone));
        // A frontend may move from one route to another: all go first, then all come.
        for (old, new) in changes {
            let kept = new.as_ref().map(|route| &route.frontends);
            let gone = old.iter().flat_map(|route| &route.frontends);
            let gone: Vec<_> = gone.filter(|frontend| !kept.is_some_and(|kept| kept.contains(frontend))).map(key).collect();
            batch.delete_elements(SERVICES, &keys(&gone));
        }
        for (old, new) in changes {
            match (old, new) {
                (old, Some(new)) => {
                    write_route(batch, old.as_ref(), new);
                    let had = old.as_ref().map(|route| &route.frontends);
                    let come = new.frontends.iter().filter(|frontend| !had.is_some_and(|had| had.contains(frontend)));
                    write_frontends(batch, come, &new.key.to_string());
                }
                (Some(old), None) => delete_route(batch, old),
                (None, None) => {}
            }
        }
    }

    /// UDP has no connections, so a tracked flow would be sent to its old backend until the client pauses.
    fn forget_stale_flows(&mut self, changes: &[(Option<Route>, Option<Route>)]) -> io::Result<()> {
        let mut stale: BTreeMap<(Ipv4Addr, u16), BTreeSet<(Ipv4Addr, u16)>> = BTreeMap::new();
        for (old, new) in changes {
            let Some(route) = old.as_ref().or(new.as_ref()) else { continue };
            if route.key.transport != Transport::Udp {
                continue;
            }
            let gone = |backend: &&Backend| !new.as_ref().is_some_and(|new| new.backends.contains(*backend));
            let gone = old.iter().flat_map(|old| &old.backends).filter(gone).map(|backend| (backend.address, backend.port));
            let mut gone: BTreeSet<_> = gone.collect();
            for frontend in &route.frontends {
                let frontend = (frontend.address, frontend.port);
                // While there was no route, flows were tracked untranslated.
                if old.is_none() {
                    gone.insert(frontend);
                }
                stale.entry(frontend).or_default().extend(&gone);
            }
        }
        if stale.values().all(BTreeSet::is_empty) {
            return Ok(());
        }
        let is_stale = |flow: Flow| stale.get(&flow.frontend).is_some_and(|gone| gone.contains(&flow.backend));
        forget_flows(&mut self.socket, is_stale).map(drop)
    }
}

fn adjust<K: Ord>(counts: &mut BTreeMap<K, usize>, key: K, add: bool) {
    let count = counts.entry(key);
    if add {
        *count.or_default() += 1;
    } else if let std::collections::btree_map::Entry::Occupied(mut count) = count {
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}

/// A route's chain, new or in place of its old rules.
fn write_route(batch: &mut Batch<'_>, old: Option<&Route>, new: &Route) {
    let name = new.key.to_string();
    if let Some(seconds) = new.affinity_seconds {
        affinity::write(batch, old, new, seconds);
        return;
    }
    match old {
        Some(old) if old.affinity_seconds.is_some() => {
            batch.flush_chain(&name);
            affinity::delete_backends(batch, old, &old.backends);
        }
        Some(old) if old.backends == new.backends => return,
        Some(_) => batch.flush_chain(&name),
        None => batch.add_chain(&name),
    }
    write_choice(batch, &name, &new.backends);
}

/// Rules that translate to one of the backends, each as likely as any other.
fn write_choice(batch: &mut Batch<'_>, chain: &str, backends: &BTreeSet<Backend>) {
    let targets: Vec<_> = backends.iter().map(|backend| address_and_port(backend.address, backend.port)).collect();
    let translate: Vec<_> = targets.iter().map(|target| translate(target)).collect();
    write_one_of(batch, chain, translate.iter().map(<[_; 3]>::as_slice));
}

/// A rule for each end, each as likely as any other: the first of two is taken by one packet of two, the first of three by one of three.
///
/// One rule with a map would do, and be shorter to write. But the transaction that replaces a map empties it at once for packets, too, that
/// are still on their way through the old rules, while rules themselves are seen by a packet as they were when it came.
fn write_one_of<'a>(batch: &mut Batch<'_>, chain: &str, ends: impl ExactSizeIterator<Item = &'a [Expression<'a>]>) {
    let left = (1..=u32::try_from(ends.len()).unwrap_or(u32::MAX)).rev();
    for (end, left) in ends.zip(left) {
        let is_taken = [Expression::Random(0, left), Expression::Equal(0, &[0; 4])];
        let rule = if left == 1 { end.to_vec() } else { [&is_taken, end].concat() };
        batch.add_rule(chain, &rule);
    }
}

/// Ends a rule: the packet's destination becomes this address and port.
fn translate(target: &[u8; 8]) -> [Expression<'_>; 3] {
    [Expression::Set(1, &target[..4]), Expression::Set(2, &target[4..6]), Expression::Dnat { address: 1, port: 2 }]
}

fn delete_route(batch: &mut Batch<'_>, old: &Route) {
    let name = old.key.to_string();
    batch.flush_chain(&name);
    if old.affinity_seconds.is_some() {
        affinity::delete_backends(batch, old, &old.backends);
    }
    batch.delete_chain(&name);
}

fn write_frontends<'a>(batch: &mut Batch<'_>, frontends: impl Iterator<Item = &'a Frontend>, chain: &str) {
    let keys: Vec<_> = frontends.map(key).collect();
    let elements: Vec<_> = keys.iter().map(|key| Element::Verdict(key, Verdict::Goto(chain))).collect();
    batch.add_elements(SERVICES, &elements);
}

/// Address, transport and port, each in a register of its own.
fn key(frontend: &Frontend) -> [u8; 12] {
    let [a, b, c, d] = frontend.address.octets();
    let [high, low] = frontend.port.to_be_bytes();
    [a, b, c, d, number(frontend.transport), 0, 0, 0, high, low, 0, 0]
}

/// The transport's number in IP.
fn number(transport: Transport) -> u8 {
    match transport {
        Transport::Tcp => 6,
        Transport::Udp => 17,
    }
}

fn pair(address: Ipv4Addr) -> [u8; 8] {
    let [a, b, c, d] = address.octets();
    [a, b, c, d, a, b, c, d]
}

fn keys<const N: usize>(keys: &[[u8; N]]) -> Vec<Element<'_>> {
    keys.iter().map(|key| Element::Key(key)).collect()
}

#[cfg(test)]
mod instant;
#[cfg(test)]
mod tests;
