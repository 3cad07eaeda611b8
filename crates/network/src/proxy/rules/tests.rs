//! Rules as the kernel lists them, after each way there.

use std::process::Command;

use expect_test::{Expect, expect};
use nix::sched::{CloneFlags, unshare};
use windlass_planner::proxy::{Owner, Scope, ServiceKey};

use super::*;

/// Runs a test in a network namespace of its own.
pub(super) fn in_namespace(test: impl FnOnce(Rules) + Send + 'static) {
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        test(Rules::new(
            NetfilterSocket::open().unwrap(),
            Addresses::default(),
            vec![(Transport::Tcp, 40000), (Transport::Udp, 40001)],
        ));
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn route(name: &str, transport: Transport, frontend: &str, backends: &[u8], affinity_seconds: Option<u32>) -> Change {
    let service = ServiceKey { namespace: "shop".to_owned(), name: name.to_owned() };
    let owner = Owner::Service(service);
    let key = RouteKey { owner, port_name: "main".to_owned(), transport, scope: Scope::Internal };
    let (address, port) = frontend.split_once(':').unwrap();
    let frontend = Frontend { address: address.parse().unwrap(), transport, port: port.parse().unwrap() };
    let backend =
        |&number: &u8| Backend { address: Ipv4Addr::new(10, 244, 0, number), port: 8080, pod: Some(format!("pod-{number}")) };
    let backends = backends.iter().map(backend).collect();
    let route = Route { key: key.clone(), frontends: BTreeSet::from([frontend]), backends, affinity_seconds, http: None };
    Change { key, route: Some(route) }
}

pub(super) fn tcp(name: &str, frontend: &str, backends: &[u8]) -> Change {
    route(name, Transport::Tcp, frontend, backends, None)
}

pub(super) fn gone(change: Change) -> Change {
    Change { route: None, ..change }
}

pub(super) fn listing() -> String {
    let output = Command::new("nft").args(["list", "ruleset"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().replace('\t', "  ")
}

/// The chains of routes, and above them which frontends lead there, in order.
fn services() -> String {
    let listing = listing();
    let services = listing.split("  set hairpin").next().unwrap();
    let elements = services.split_once("elements = {").map_or("", |(_, elements)| elements.split_once('}').unwrap().0);
    let mut elements: Vec<_> = elements.split(',').map(str::trim).filter(|element| !element.is_empty()).collect();
    elements.sort_unstable();
    let chains = listing.split_once("  chain shop").map_or(String::new(), |(_, chains)| format!("  chain shop{chains}"));
    let chains = chains.trim_end().trim_end_matches('}');
    let chains = chains.lines().map(|line| line.strip_prefix("  ").unwrap_or(line));
    let lines: Vec<_> = elements.into_iter().chain(chains).collect();
    if lines.is_empty() { "nothing\n".to_owned() } else { lines.join("\n").trim_end().to_owned() + "\n" }
}

fn check(rules: &mut Rules, changes: Vec<Change>, expected: &Expect) {
    rules.commit(changes).unwrap();
    expected.assert_eq(&services());
    // Whatever the way was, writing everything anew leads to the same.
    let listed = sorted(&listing());
    rules.unknown = true;
    rules.commit(Vec::new()).unwrap();
    assert_eq!(sorted(&listing()), listed);
}

/// Chains are listed in the order in which they were made, elements in that of a hash.
pub(super) fn sorted(listing: &str) -> Vec<String> {
    let words = |block: &str| {
        let mut words: Vec<_> = block.split_whitespace().map(|word| word.trim_end_matches(',')).collect();
        if block.contains("elements") {
            words.sort_unstable();
        }
        words.join(" ")
    };
    let mut blocks: Vec<_> = listing.trim_end().trim_end_matches('}').split("\n\n").map(words).collect();
    blocks.sort_unstable();
    blocks
}

#[test]
fn services_come_change_and_go() {
    in_namespace(|mut rules| {
        let web = |backends: &[u8]| tcp("web", "10.96.0.5:80", backends);
        let api = |backends: &[u8]| tcp("api", "10.96.0.6:80", backends);
        check(
            &mut rules,
            vec![web(&[2, 3]), api(&[3])],
            &expect![[r#"
                10.96.0.5 . tcp . 80 : goto shop/web/tcp/main
                10.96.0.6 . tcp . 80 : goto shop/api/tcp/main
                chain shop/api/tcp/main {
                  dnat to 10.244.0.3:8080
                }

                chain shop/web/tcp/main {
                  numgen random mod 2 0 dnat to 10.244.0.2:8080
                  dnat to 10.244.0.3:8080
                }
            "#]],
        );
        assert!(rules.lead_to("pod-3"));
        check(
            &mut rules,
            vec![web(&[2])],
            &expect![[r#"
                10.96.0.5 . tcp . 80 : goto shop/web/tcp/main
                10.96.0.6 . tcp . 80 : goto shop/api/tcp/main
                chain shop/api/tcp/main {
                  dnat to 10.244.0.3:8080
                }

                chain shop/web/tcp/main {
                  dnat to 10.244.0.2:8080
                }
            "#]],
        );
        assert!(rules.lead_to("pod-3"));
        check(
            &mut rules,
            vec![api(&[])],
            &expect![[r#"
                10.96.0.5 . tcp . 80 : goto shop/web/tcp/main
                chain shop/web/tcp/main {
                  dnat to 10.244.0.2:8080
                }
            "#]],
        );
        assert!(!rules.lead_to("pod-3"));
        check(
            &mut rules,
            vec![gone(web(&[])), gone(api(&[]))],
            &expect![[r#"
                nothing
            "#]],
        );
    });
}

#[test]
fn a_frontend_moves_between_services_at_one_instant() {
    in_namespace(|mut rules| {
        let blue = |frontend: &str| tcp("blue", frontend, &[2]);
        let green = |frontend: &str| tcp("green", frontend, &[3]);
        check(
            &mut rules,
            vec![blue("10.96.0.5:80"), green("10.96.0.6:80")],
            &expect![[r#"
                10.96.0.5 . tcp . 80 : goto shop/blue/tcp/main
                10.96.0.6 . tcp . 80 : goto shop/green/tcp/main
                chain shop/blue/tcp/main {
                  dnat to 10.244.0.2:8080
                }

                chain shop/green/tcp/main {
                  dnat to 10.244.0.3:8080
                }
            "#]],
        );
        check(
            &mut rules,
            vec![green("10.96.0.5:80"), blue("10.96.0.6:80")],
            &expect![[r#"
                10.96.0.5 . tcp . 80 : goto shop/green/tcp/main
                10.96.0.6 . tcp . 80 : goto shop/blue/tcp/main
                chain shop/blue/tcp/main {
                  dnat to 10.244.0.2:8080
                }

                chain shop/green/tcp/main {
                  dnat to 10.244.0.3:8080
                }
            "#]],
        );
    });
}

#[test]
fn the_first_keeps_a_frontend_that_two_have() {
    in_namespace(|mut rules| {
        check(
            &mut rules,
            vec![tcp("a", "10.96.0.5:80", &[2])],
            &expect![[r#"
                10.96.0.5 . tcp . 80 : goto shop/a/tcp/main
                chain shop/a/tcp/main {
                  dnat to 10.244.0.2:8080
                }
            "#]],
        );
        check(
            &mut rules,
            vec![tcp("b", "10.96.0.5:80", &[3])],
            &expect![[r#"
                10.96.0.5 . tcp . 80 : goto shop/a/tcp/main
                chain shop/a/tcp/main {
                  dnat to 10.244.0.2:8080
                }

                chain shop/b/tcp/main {
                  dnat to 10.244.0.3:8080
                }
            "#]],
        );
    });
}

#[test]
fn affinity_keeps_the_memory_of_backends_that_stay() {
    in_namespace(|mut rules| {
        let web = |backends: &[u8], seconds| route("web", Transport::Tcp, "10.96.0.5:80", backends, seconds);
        check(
            &mut rules,
            vec![web(&[2, 3], Some(60))],
            &expect![[r#"
                10.96.0.5 . tcp . 80 : goto shop/web/tcp/main
                chain shop/web/tcp/main {
                  ip saddr @shop/web/tcp/main/10.244.0.2:8080 goto shop/web/tcp/main/10.244.0.2:8080
                  ip saddr @shop/web/tcp/main/10.244.0.3:8080 goto shop/web/tcp/main/10.244.0.3:8080
                  numgen random mod 2 0 goto shop/web/tcp/main/10.244.0.2:8080
                  goto shop/web/tcp/main/10.244.0.3:8080
                }

                chain shop/web/tcp/main/10.244.0.2:8080 {
                  update @shop/web/tcp/main/10.244.0.2:8080 { ip saddr timeout 1m }
                  dnat to 10.244.0.2:8080
                }

                chain shop/web/tcp/main/10.244.0.3:8080 {
                  update @shop/web/tcp/main/10.244.0.3:8080 { ip saddr timeout 1m }
                  dnat to 10.244.0.3:8080
                }
            "#]],
        );
        check(
            &mut rules,
            vec![web(&[3, 4], Some(60))],
            &expect![[r#"
                10.96.0.5 . tcp . 80 : goto shop/web/tcp/main
                chain shop/web/tcp/main {
                  ip saddr @shop/web/tcp/main/10.244.0.3:8080 goto shop/web/tcp/main/10.244.0.3:8080
                  ip saddr @shop/web/tcp/main/10.244.0.4:8080 goto shop/web/tcp/main/10.244.0.4:8080
                  numgen random mod 2 0 goto shop/web/tcp/main/10.244.0.3:8080
                  goto shop/web/tcp/main/10.244.0.4:8080
                }

                chain shop/web/tcp/main/10.244.0.3:8080 {
                  update @shop/web/tcp/main/10.244.0.3:8080 { ip saddr timeout 1m }
                  dnat to 10.244.0.3:8080
                }

                chain shop/web/tcp/main/10.244.0.4:8080 {
                  update @shop/web/tcp/main/10.244.0.4:8080 { ip saddr timeout 1m }
                  dnat to 10.244.0.4:8080
                }
            "#]],
        );
        check(
            &mut rules,
            vec![web(&[3, 4], Some(30))],
            &expect![[r#"
                10.96.0.5 . tcp . 80 : goto shop/web/tcp/main
                chain shop/web/tcp/main {
                  ip saddr @shop/web/tcp/main/10.244.0.3:8080 goto shop/web/tcp/main/10.244.0.3:8080
                  ip saddr @shop/web/tcp/main/10.244.0.4:8080 goto shop/web/tcp/main/10.244.0.4:8080
                  numgen random mod 2 0 goto shop/web/tcp/main/10.244.0.3:8080
                  goto shop/web/tcp/main/10.244.0.4:8080
                }

                chain shop/web/tcp/main/10.244.0.3:8080 {
                  update @shop/web/tcp/main/10.244.0.3:8080 { ip saddr timeout 30s }
                  dnat to 10.244.0.3:8080
                }

                chain shop/web/tcp/main/10.244.0.4:8080 {
                  update @shop/web/tcp/main/10.244.0.4:8080 { ip saddr timeout 30s }
                  dnat to 10.244.0.4:8080
                }
            "#]],
        );
    });
}

#[test]
fn affinity_is_switched_off_and_on() {
    in_namespace(|mut rules| {
        let web = |backends: &[u8], seconds| route("web", Transport::Tcp, "10.96.0.5:80", backends, seconds);
        rules.commit(vec![web(&[3, 4], Some(30))]).unwrap();
        check(
            &mut rules,
            vec![web(&[3, 4], None)],
            &expect![[r#"
                10.96.0.5 . tcp . 80 : goto shop/web/tcp/main
                chain shop/web/tcp/main {
                  numgen random mod 2 0 dnat to 10.244.0.3:8080
                  dnat to 10.244.0.4:8080
                }
            "#]],
        );
        check(
            &mut rules,
            vec![web(&[3], Some(60))],
            &expect![[r#"
                10.96.0.5 . tcp . 80 : goto shop/web/tcp/main
                chain shop/web/tcp/main {
                  ip saddr @shop/web/tcp/main/10.244.0.3:8080 goto shop/web/tcp/main/10.244.0.3:8080
                  goto shop/web/tcp/main/10.244.0.3:8080
                }

                chain shop/web/tcp/main/10.244.0.3:8080 {
                  update @shop/web/tcp/main/10.244.0.3:8080 { ip saddr timeout 1m }
                  dnat to 10.244.0.3:8080
                }
            "#]],
        );
        check(
            &mut rules,
            vec![gone(web(&[], None))],
            &expect![[r#"
                nothing
            "#]],
        );
    });
}

#[test]
fn a_failed_transaction_changes_nothing_and_the_next_repairs() {
    in_namespace(|mut rules| {
        rules.commit(vec![tcp("web", "10.96.0.5:80", &[2])]).unwrap();
        // Somebody else deletes what is ours: the next change finds no chain to change.
        assert!(Command::new("nft").args(["flush", "ruleset"]).status().unwrap().success());
        assert!(rules.commit(vec![tcp("web", "10.96.0.5:80", &[3])]).is_err());
        assert!(rules.lead_to("pod-2"));
        rules.commit(Vec::new()).unwrap();
        assert!(!rules.lead_to("pod-2"));
        assert_eq!(listing().matches("dnat to 10.244.0.3:8080").count(), 1);
    });
}
