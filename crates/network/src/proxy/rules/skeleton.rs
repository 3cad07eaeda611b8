//! What is there whatever the Services are.

use windlass_planner::proxy::Transport;

use super::{HAIRPIN, SERVICES, number};
use crate::{
    Addresses, Cidr,
    holder::PARTING_DEVICE,
    netfilter::{Batch, Chain, Expression, Field, Hook, NamedSet, SetType, TRANSLATED, Verdict, address_and_port},
};

/// Sets, chains that the kernel calls, and rules that name no Service.
pub(super) fn write(batch: &mut Batch<'_>, addresses: &Addresses, egress: &[(Transport, u16)]) {
    write_sets(batch);
    write_hooks(batch, addresses, egress);
}

/// The chain that tells whether the kernel calls a table.
pub(super) const FIRST_CHAIN: &str = "prerouting";
/// Mask and base of a range of addresses.
type Range = ([u8; 4], [u8; 4]);
/// 127.0.0.0/8.
const LOOPBACK: Range = ([255, 0, 0, 0], [127, 0, 0, 0]);
/// The loopback device is the first of every namespace.
const LOOPBACK_DEVICE: [u8; 4] = 1_u32.to_ne_bytes();

/// What has the kernel call the table; its sets are there.
pub(super) fn write_hooks(batch: &mut Batch<'_>, addresses: &Addresses, egress: &[(Transport, u16)]) {
    write_chains(batch);
    write_loopback(batch);
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
        ("loopback", "filter", Hook::Prerouting, -300),
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

/// Ports of the node answer on 127.0.0.1, and what goes from there to a pod needs an address to which the pod can answer. Nobody but the
/// machine itself sends to there or from there, all the same; what comes back from the way round of `parting` was on its way already.
fn write_loopback(batch: &mut Batch<'_>) {
    let (own, parting) = (device_name("lo"), device_name(PARTING_DEVICE));
    let from_elsewhere = [Expression::LoadDeviceName(0), Expression::NotEqual(0, &own), Expression::NotEqual(0, &parting)];
    let dropped = [Expression::Verdict(Verdict::Drop)];
    for end in [Field::Destination, Field::Source] {
        batch.add_rule("loopback", &[&from_elsewhere[..], &is_in(end, &LOOPBACK), &dropped].concat());
    }
    let leaves = [Expression::LoadWayOut(0), Expression::NotEqual(0, &LOOPBACK_DEVICE)];
    batch.add_rule("postrouting", &[&leaves[..], &is_in(Field::Source, &LOOPBACK), &[Expression::Masquerade]].concat());
}

fn device_name(name: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    bytes
}

/// What pods send to neither pods nor Services, and the machine itself to nobody in it: by the loopback device, as it has no other way.
fn write_egress(batch: &mut Batch<'_>, addresses: &Addresses, transport: Transport, port: u16) {
    let (transport, target) = ([number(transport)], address_and_port(addresses.machine(), port));
    let is_transport = [Expression::Load(Field::Transport, 0), Expression::Equal(0, &transport)];
    let lead = [Expression::Set(0, &target[..4]), Expression::Set(1, &target[4..6]), Expression::Dnat { address: 0, port: 1 }];
    let inside = [range(addresses.pods), range(addresses.services), LOOPBACK];
    let from_pods = is_in(Field::Source, &inside[0]);
    let from_machine = [Expression::LoadWayOut(0), Expression::Equal(0, &LOOPBACK_DEVICE)];
    batch.add_rule("prerouting", &[&is_transport[..], &from_pods, &is_outside(&inside[..2]), &lead].concat());
    batch.add_rule("output", &[&is_transport[..], &from_machine, &is_outside(&inside), &lead].concat());
}

fn range(addresses: Cidr) -> Range {
    (addresses.mask().octets(), addresses.base().octets())
}

fn is_in<'a>(field: Field, (mask, base): &'a Range) -> [Expression<'a>; 3] {
    [Expression::Load(field, 0), Expression::Mask(0, *mask), Expression::Equal(0, base)]
}

/// Sent to none of these.
fn is_outside(ranges: &[Range]) -> Vec<Expression<'_>> {
    let mut steps = Vec::new();
    for (mask, base) in ranges {
        steps.extend([Expression::Load(Field::Destination, 0), Expression::Mask(0, *mask), Expression::NotEqual(0, base)]);
    }
    steps
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

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::super::tests::{in_namespace, listing};

    #[test]
    fn the_rules_of_an_empty_machine() {
        in_namespace(|mut rules| {
            assert!(rules.lead_to("anything"));
            rules.commit(Vec::new()).unwrap();
            assert!(!rules.lead_to("anything"));
            expect![[r#"
                table ip windlass {
                  map services {
                    type ipv4_addr . inet_proto . inet_service : verdict
                  }

                  set hairpin {
                    type ipv4_addr . ipv4_addr
                  }

                  chain loopback {
                    type filter hook prerouting priority raw; policy accept;
                    iifname != "lo" iifname != "wl-parting" ip daddr 127.0.0.0/8 drop
                    iifname != "lo" iifname != "wl-parting" ip saddr 127.0.0.0/8 drop
                  }

                  chain prerouting {
                    type nat hook prerouting priority dstnat; policy accept;
                    ip daddr . meta l4proto . th dport vmap @services
                    meta l4proto tcp ip saddr 10.244.0.0/24 ip daddr != 10.244.0.0/24 ip daddr != 10.96.0.0/12 dnat to 10.244.0.1:40000
                    meta l4proto udp ip saddr 10.244.0.0/24 ip daddr != 10.244.0.0/24 ip daddr != 10.96.0.0/12 dnat to 10.244.0.1:40001
                  }

                  chain output {
                    type nat hook output priority -100; policy accept;
                    ip daddr . meta l4proto . th dport vmap @services
                    meta l4proto tcp oif "lo" ip daddr != 10.244.0.0/24 ip daddr != 10.96.0.0/12 ip daddr != 127.0.0.0/8 dnat to 10.244.0.1:40000
                    meta l4proto udp oif "lo" ip daddr != 10.244.0.0/24 ip daddr != 10.96.0.0/12 ip daddr != 127.0.0.0/8 dnat to 10.244.0.1:40001
                  }

                  chain input {
                    type filter hook input priority filter; policy accept;
                    ip daddr 10.96.0.10 th dport 53 accept
                    ip daddr 10.96.0.0/12 reject with tcp reset
                    ip daddr 10.96.0.0/12 reject
                  }

                  chain output-refused {
                    type filter hook output priority filter; policy accept;
                    ip daddr 10.96.0.10 th dport 53 accept
                    ip daddr 10.96.0.0/12 reject with tcp reset
                    ip daddr 10.96.0.0/12 reject
                  }

                  chain postrouting {
                    type nat hook postrouting priority srcnat; policy accept;
                    oif != "lo" ip saddr 127.0.0.0/8 masquerade
                    ct status dnat ip saddr . ip daddr @hairpin masquerade
                  }
                }
            "#]]
            .assert_eq(&listing());
        });
    }
}
