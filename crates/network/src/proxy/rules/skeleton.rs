//! What is there whatever the Services are.

use windlass_planner::proxy::Transport;

use super::{HAIRPIN, SERVICES, number};
use crate::{
    Addresses,
    netfilter::{Batch, Chain, Expression, Field, Hook, NamedSet, SetType, TRANSLATED, Verdict, address_and_port},
};

/// Sets, chains that the kernel calls, and rules that name no Service.
pub(super) fn write(batch: &mut Batch<'_>, addresses: &Addresses, egress: &[(Transport, u16)]) {
    write_sets(batch);
    write_hooks(batch, addresses, egress);
}

/// The chain that tells whether the kernel calls a table.
pub(super) const FIRST_CHAIN: &str = "prerouting";

/// What has the kernel call the table; its sets are there.
pub(super) fn write_hooks(batch: &mut Batch<'_>, addresses: &Addresses, egress: &[(Transport, u16)]) {
    write_chains(batch);
    for (transport, port) in egress {
        write_egress(batch, addresses, *transport, *port);
    }
    write_refusal(batch, addresses);
    write_hairpin(batch);
}

/// What Services are written into.
pub(super) fn write_sets(batch: &mut Batch<'_>) {
    let services = NamedSet { name: SERVICES, key: SetType::AddressTransportPort, value: Some(SetType::Verdict), timeout: None };
    batch.add_set(services);
    batch.add_set(NamedSet { name: HAIRPIN, key: SetType::AddressPair, value: None, timeout: None });
}

fn write_chains(batch: &mut Batch<'_>) {
    // Priorities by which the kernel itself orders the kinds of translation: destination before filtering, source after it.
    for (name, kind, hook, priority) in [
        (FIRST_CHAIN, "nat", Hook::Prerouting, -100),
        ("output", "nat", Hook::Output, -100),
        ("input", "filter", Hook::Input, 0),
        ("output-refused", "filter", Hook::Output, 0),
        ("postrouting", "nat", Hook::Postrouting, 100),
    ] {
        batch.add_base_chain(Chain { name, kind, hook, priority });
    }
    let look = [
        Expression::Load(Field::Destination, 0),
        Expression::Load(Field::Transport, 1),
        Expression::Load(Field::Port, 2),
        Expression::VerdictMap { map: SERVICES, key: 0 },
    ];
    for chain in ["prerouting", "output"] {
        batch.add_rule(chain, &look);
    }
}

/// What pods send to neither pods nor Services.
fn write_egress(batch: &mut Batch<'_>, addresses: &Addresses, transport: Transport, port: u16) {
    let target = address_and_port(addresses.machine(), port);
    let (pods, services) = (addresses.pods, addresses.services);
    batch.add_rule(
        "prerouting",
        &[
            Expression::Load(Field::Transport, 0),
            Expression::Equal(0, &[number(transport)]),
            Expression::Load(Field::Source, 0),
            Expression::Mask(0, pods.mask().octets()),
            Expression::Equal(0, &pods.base().octets()),
            Expression::Load(Field::Destination, 0),
            Expression::Mask(0, pods.mask().octets()),
            Expression::NotEqual(0, &pods.base().octets()),
            Expression::Load(Field::Destination, 0),
            Expression::Mask(0, services.mask().octets()),
            Expression::NotEqual(0, &services.base().octets()),
            Expression::Set(0, &target[..4]),
            Expression::Set(1, &target[4..6]),
            Expression::Dnat { address: 0, port: 1 },
        ],
    );
}

/// What is sent to a Service and was not translated has no endpoint, or no such port; DNS answers on its address itself.
///
/// What the machine itself sends is refused before it is on its way: a connection that the kernel takes down as one without translation
/// stays so for two minutes, and whoever gets the same port again meanwhile would not be led to an endpoint that has come since.
fn write_refusal(batch: &mut Batch<'_>, addresses: &Addresses) {
    let dns = addresses.dns.octets();
    let (mask, base) = (addresses.services.mask().octets(), addresses.services.base().octets());
    let to_service = [Expression::Load(Field::Destination, 0), Expression::Mask(0, mask), Expression::Equal(0, &base)];
    // Who is about to connect hears a reset. That a port is unreachable the kernel tells nobody who is still at it.
    let tcp = [number(Transport::Tcp)];
    let reset = [Expression::Load(Field::Transport, 1), Expression::Equal(1, &tcp), Expression::Reset];
    for chain in ["input", "output-refused"] {
        batch.add_rule(
            chain,
            &[
                Expression::Load(Field::Destination, 0),
                Expression::Equal(0, &dns),
                Expression::Load(Field::Port, 1),
                Expression::Equal(1, &53_u16.to_be_bytes()),
                Expression::Verdict(Verdict::Accept),
            ],
        );
        batch.add_rule(chain, &[&to_service[..], &reset].concat());
        batch.add_rule(chain, &[&to_service[..], &[Expression::Refuse]].concat());
    }
}

fn write_hairpin(batch: &mut Batch<'_>) {
    batch.add_rule(
        "postrouting",
        &[
            Expression::LoadConnectionStatus(0),
            Expression::Mask(0, TRANSLATED),
            Expression::NotEqual(0, &[0; 4]),
            Expression::Load(Field::Source, 0),
            Expression::Load(Field::Destination, 1),
            Expression::InSet(HAIRPIN, 0),
            Expression::Masquerade,
        ],
    );
}
