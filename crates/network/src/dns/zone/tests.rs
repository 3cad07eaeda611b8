//! Names of a small cluster, and what they answer.

use serde_json::{Value, json};

use super::*;

fn zone() -> Zone {
    let mut zone = Zone::new(Addresses::default());
    let mut service = |namespace: &str, name: &str, spec: Value| {
        let service = json!({ "metadata": { "namespace": namespace, "name": name }, "spec": spec });
        zone.service(Arc::new(serde_json::from_value(service).unwrap()));
    };
    let ports = json!([{ "name": "http", "port": 80 }, { "name": "dns", "port": 53, "protocol": "UDP" }]);
    service("shop", "web", json!({ "clusterIP": "10.96.0.5", "ports": ports }));
    service("shop", "db", json!({ "clusterIP": "None" }));
    service("shop", "outside", json!({ "type": "ExternalName", "externalName": "Example.COM." }));
    service("shop", "fixed", json!({ "type": "ExternalName", "externalName": "192.0.2.7" }));
    let slice = json!({
        "metadata": { "namespace": "shop", "name": "db-1", "labels": { "kubernetes.io/service-name": "db" } },
        "addressType": "IPv4",
        "endpoints": [
            { "addresses": ["10.244.0.2"], "hostname": "db-0", "conditions": { "ready": true } },
            { "addresses": ["10.244.0.3"], "conditions": {} },
            { "addresses": ["10.244.0.4"], "hostname": "db-2", "conditions": { "ready": false } },
        ],
        "ports": [{ "name": "sql", "port": 5432, "protocol": "TCP" }],
    });
    zone.slice(Arc::new(serde_json::from_value(slice).unwrap()));
    zone.complete();
    zone
}

fn show(answer: Answer) -> String {
    let show = |data| match data {
        Data::Address(address) => address.to_string(),
        Data::Srv { port, target } => format!("{target}:{port}"),
        Data::Pointer(text) | Data::Text(text) | Data::NameServer(text) => text,
    };
    match answer {
        Answer::Records(records) => format!("[{}]", records.into_iter().map(show).collect::<Vec<_>>().join(" ")),
        Answer::Alias(target) => format!("alias {target}"),
        other => format!("{other:?}"),
    }
}

#[test]
fn names_and_what_they_answer() {
    let zone = zone();
    let kind = |kind| match kind {
        "A" => Kind::Ipv4,
        "AAAA" => Kind::Ipv6,
        "SRV" => Kind::Srv,
        "PTR" => Kind::Pointer,
        "TXT" => Kind::Text,
        "NS" => Kind::NameServer,
        _ => Kind::Other,
    };
    for (asked, name, expected) in [
        ("A", "web.shop.svc.cluster.local", "[10.96.0.5]"),
        ("AAAA", "web.shop.svc.cluster.local", "[]"),
        ("MX", "web.shop.svc.cluster.local", "[]"),
        ("SRV", "web.shop.svc.cluster.local", "[web.shop.svc.cluster.local:80 web.shop.svc.cluster.local:53]"),
        ("SRV", "_http._tcp.web.shop.svc.cluster.local", "[web.shop.svc.cluster.local:80]"),
        ("SRV", "_dns._udp.web.shop.svc.cluster.local", "[web.shop.svc.cluster.local:53]"),
        ("SRV", "_dns._tcp.web.shop.svc.cluster.local", "NoSuchName"),
        ("A", "_http._tcp.web.shop.svc.cluster.local", "[]"),
        ("A", "_tcp.web.shop.svc.cluster.local", "[]"),
        ("A", "db.shop.svc.cluster.local", "[10.244.0.2 10.244.0.3]"),
        ("A", "db-0.db.shop.svc.cluster.local", "[10.244.0.2]"),
        ("A", "10-244-0-3.db.shop.svc.cluster.local", "[10.244.0.3]"),
        ("A", "db-2.db.shop.svc.cluster.local", "NoSuchName"),
        (
            "SRV",
            "_sql._tcp.db.shop.svc.cluster.local",
            "[10-244-0-3.db.shop.svc.cluster.local:5432 db-0.db.shop.svc.cluster.local:5432]",
        ),
        ("A", "outside.shop.svc.cluster.local", "alias example.com"),
        ("A", "fixed.shop.svc.cluster.local", "[192.0.2.7]"),
        ("A", "10-244-0-9.shop.pod.cluster.local", "[10.244.0.9]"),
        ("A", "nonsense.shop.pod.cluster.local", "NoSuchName"),
        ("PTR", "5.0.96.10.in-addr.arpa", "[web.shop.svc.cluster.local]"),
        ("PTR", "2.0.244.10.in-addr.arpa", "[db-0.db.shop.svc.cluster.local]"),
        ("PTR", "9.0.244.10.in-addr.arpa", "NoSuchName"),
        ("PTR", "7.2.0.192.in-addr.arpa", "NotOurs"),
        ("TXT", "dns-version.cluster.local", "[1.1.0]"),
        ("NS", "cluster.local", "[ns.dns.cluster.local]"),
        ("A", "ns.dns.cluster.local", "[10.96.0.10]"),
        // What exists only as a part of names.
        ("A", "cluster.local", "[]"),
        ("A", "svc.cluster.local", "[]"),
        ("A", "shop.svc.cluster.local", "[]"),
        ("A", "nowhere.svc.cluster.local", "NoSuchName"),
        // What search paths make of other names.
        ("A", "example.com.shop.svc.cluster.local", "NoSuchName"),
        ("A", "example.com.cluster.local", "NoSuchName"),
        ("A", "web.shop.svc", "NotOurs"),
        ("A", "example.com", "NotOurs"),
        ("A", "xcluster.local", "NotOurs"),
        ("A", "", "NotOurs"),
    ] {
        assert_eq!(show(zone.lookup(name, kind(asked))), expected, "{asked} {name}");
    }
}

#[test]
fn nothing_is_denied_before_all_is_known() {
    let zone = Zone::new(Addresses::default());
    assert_eq!(zone.lookup("web.shop.svc.cluster.local", Kind::Ipv4), Answer::NotReady);
    assert_eq!(zone.lookup("5.0.96.10.in-addr.arpa", Kind::Pointer), Answer::NotReady);
    assert_eq!(zone.lookup("example.com", Kind::Ipv4), Answer::NotOurs);
}

#[test]
fn names_go_with_their_objects() {
    let mut zone = zone();
    zone.slice_deleted("shop", "db-1");
    assert_eq!(show(zone.lookup("db.shop.svc.cluster.local", Kind::Ipv4)), "[]");
    zone.service_deleted("shop", "db");
    assert_eq!(show(zone.lookup("db.shop.svc.cluster.local", Kind::Ipv4)), "NoSuchName");
}
