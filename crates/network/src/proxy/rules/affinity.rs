//! Session affinity: each backend remembers its clients in a set, and a client that is remembered goes back there.

use std::{collections::BTreeSet, time::Duration};

use windlass_planner::proxy::{Backend, Route};

use crate::netfilter::{Batch, Expression, Field, NamedSet, SetType, Verdict, address_and_port};

use super::{translate, write_one_of};

/// A route's chain: rules that send remembered clients back, then a choice among the backends' own chains.
/// Backends that stay keep their sets, and so their clients.
pub(super) fn write(batch: &mut Batch<'_>, old: Option<&Route>, new: &Route, seconds: u32) {
    let name = new.key.to_string();
    match old {
        Some(_) => batch.flush_chain(&name),
        None => batch.add_chain(&name),
    }
    // A set's timeout can't be changed, so with another timeout all sets are made anew.
    let kept = old.filter(|old| old.affinity_seconds == new.affinity_seconds);
    let none = BTreeSet::new();
    let kept_backends = kept.map_or(&none, |old| &old.backends);
    if let Some(old) = old.filter(|old| old.affinity_seconds.is_some()) {
        let gone = if kept.is_some() { old.backends.difference(&new.backends).cloned().collect() } else { old.backends.clone() };
        delete_backends(batch, old, &gone);
    }
    for backend in new.backends.difference(kept_backends) {
        write_backend(batch, &backend_name(new, backend), backend, Duration::from_secs(seconds.into()));
    }
    let chains: Vec<_> = new.backends.iter().map(|backend| backend_name(new, backend)).collect();
    for chain in &chains {
        let back = [Expression::Load(Field::Source, 0), Expression::InSet(chain, 0), Expression::Verdict(Verdict::Goto(chain))];
        batch.add_rule(&name, &back);
    }
    let choices: Vec<_> = chains.iter().map(|chain| [Expression::Verdict(Verdict::Goto(chain))]).collect();
    write_one_of(batch, &name, choices.iter().map(<[_; 1]>::as_slice));
}

/// Deletes the chains and sets of backends; no rule of the route may lead there any more.
pub(super) fn delete_backends(batch: &mut Batch<'_>, route: &Route, backends: &BTreeSet<Backend>) {
    for backend in backends {
        let name = backend_name(route, backend);
        batch.flush_chain(&name);
        batch.delete_chain(&name);
        batch.delete_set(&name);
    }
}

fn write_backend(batch: &mut Batch<'_>, name: &str, backend: &Backend, timeout: Duration) {
    batch.add_set(NamedSet { name, key: SetType::Address, value: None, timeout: Some(timeout) });
    batch.add_chain(name);
    let target = address_and_port(backend.address, backend.port);
    // Two rules: a set that is full ends the first one, and a client that can't be remembered is led all the same.
    batch.add_rule(name, &[Expression::Load(Field::Source, 0), Expression::Remember { set: name, key: 0, timeout }]);
    batch.add_rule(name, &translate(&target));
}

/// Names both the chain and the set of a backend.
fn backend_name(route: &Route, backend: &Backend) -> String {
    format!("{}/{}:{}", route.key, backend.address, backend.port)
}
