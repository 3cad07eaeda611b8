//! Plans of one Service, as text.

use std::fmt::Write as _;

use expect_test::{Expect, expect};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::*;

const START: Timestamp = Timestamp::UNIX_EPOCH;

fn machine() -> Machine {
    Machine { node: "here".to_owned(), address: Ipv4Addr::new(10, 244, 0, 1), dns: Ipv4Addr::new(10, 96, 0, 10) }
}

/// A Service `shop/web` with ClusterIP 10.96.0.5.
fn service(spec: Value) -> Service {
    let mut service = json!({ "metadata": { "namespace": "shop", "name": "web" }, "spec": { "clusterIP": "10.96.0.5" } });
    merge(&mut service["spec"], spec);
    serde_json::from_value(service).unwrap()
}

fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}

fn http() -> Value {
    json!({ "ports": [{ "name": "http", "port": 80 }] })
}

/// One endpoint of pod `uid`, whose address ends in its number.
fn endpoint(number: u8, uid: &str, state: &str) -> Value {
    let conditions = match state {
        "ready" => json!({ "ready": true, "serving": true, "terminating": false }),
        "unready" => json!({ "ready": false, "serving": false, "terminating": false }),
        "serving" => json!({ "ready": false, "serving": true, "terminating": true }),
        "dying" => json!({ "ready": false, "serving": false, "terminating": true }),
        _ => json!({}),
    };
    json!({
        "addresses": [format!("10.244.0.{number}")],
        "conditions": conditions,
        "nodeName": "here",
        "targetRef": { "kind": "Pod", "uid": uid },
    })
}

fn slice(endpoints: &[Value]) -> EndpointSlice {
    serde_json::from_value(json!({
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }, { "name": "dns", "port": 5353, "protocol": "UDP" }],
    }))
    .unwrap()
}

fn leaving(uids: &[&str], since: Timestamp) -> Departures {
    let mut departures = Departures::default();
    for uid in uids {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "uid": uid, "deletionTimestamp": "2026-01-01T00:00:00Z" },
        }))
        .unwrap();
        departures.observe(&pod, since);
    }
    departures
}

fn check_at(service: &Service, slices: &[EndpointSlice], departures: &Departures, now: Timestamp, expected: &Expect) {
    let slices: Vec<_> = slices.iter().collect();
    let plan = plan(service, &slices, departures, &machine(), now);
    let mut text = String::new();
    let show = |frontend: &Frontend| format!("{}:{}/{}", frontend.address, frontend.port, frontend.transport);
    for route in &plan.routes {
        let frontends: Vec<_> = route.frontends.iter().map(show).collect();
        let backend = |backend: &super::super::Backend| {
            format!("{}:{} ({})", backend.address, backend.port, backend.pod.as_deref().unwrap_or("-"))
        };
        let backends: Vec<_> = route.backends.iter().map(backend).collect();
        let affinity = route.affinity_seconds.map(|seconds| format!(", {seconds} s")).unwrap_or_default();
        let http =
            route.http.as_ref().map(|http| format!(", http/{} {:?}", 1 + u8::from(http.http2), http.split)).unwrap_or_default();
        writeln!(text, "{}: {} -> [{}]{affinity}{http}", route.key, frontends.join(" "), backends.join(" ")).unwrap();
    }
    for publication in &plan.publications {
        writeln!(text, "host port {} -> {}", publication.host_port, show(&publication.target)).unwrap();
    }
    if let Some(wake_at) = plan.wake_at {
        writeln!(text, "wake after {} ms", wake_at.duration_since(START).as_millis()).unwrap();
    }
    expected.assert_eq(&text);
}

fn check(service: &Service, slices: &[EndpointSlice], departures: &Departures, expected: &Expect) {
    check_at(service, slices, departures, START, expected);
}

#[test]
fn ready_endpoints_of_all_slices_are_sent_to() {
    check(
        &service(http()),
        &[
            slice(&[endpoint(2, "a", "ready"), endpoint(3, "b", "unready"), endpoint(4, "c", "unknown")]),
            slice(&[endpoint(5, "d", "ready"), endpoint(6, "e", "serving"), endpoint(7, "f", "dying")]),
        ],
        &Departures::default(),
        &expect![[r"
            shop/web/tcp/http: 10.96.0.5:80/tcp -> [10.244.0.2:8080 (a) 10.244.0.4:8080 (c) 10.244.0.5:8080 (d)]
        "]],
    );
}

#[test]
fn a_pod_that_is_being_deleted_is_out_before_its_slice_says_so() {
    check(
        &service(http()),
        &[slice(&[endpoint(2, "a", "ready"), endpoint(3, "b", "ready")])],
        &leaving(&["b"], START),
        &expect![[r"
            shop/web/tcp/http: 10.96.0.5:80/tcp -> [10.244.0.2:8080 (a)]
        "]],
    );
}

#[test]
fn when_all_leave_they_serve_for_a_bounded_time() {
    let slices = [slice(&[endpoint(2, "a", "serving"), endpoint(3, "b", "ready"), endpoint(4, "c", "dying")])];
    let departures = leaving(&["a", "b", "c"], START);
    let after = |milliseconds| START + SignedDuration::from_millis(milliseconds);
    check_at(
        &service(http()),
        &slices,
        &departures,
        after(1999),
        &expect![[r"
        shop/web/tcp/http: 10.96.0.5:80/tcp -> [10.244.0.2:8080 (a) 10.244.0.3:8080 (b)]
        wake after 2000 ms
    "]],
    );
    check_at(
        &service(http()),
        &slices,
        &departures,
        after(2000),
        &expect![[r"
        shop/web/tcp/http: 10.96.0.5:80/tcp -> []
    "]],
    );
}

#[test]
fn a_pod_that_was_told_it_is_out_stays_out() {
    let mut departures = leaving(&["a"], START);
    assert_eq!(departures.acknowledge(|_| false).gone, ["a"]);
    check(
        &service(http()),
        &[slice(&[endpoint(2, "a", "ready")])],
        &departures,
        &expect![[r"
        shop/web/tcp/http: 10.96.0.5:80/tcp -> []
    "]],
    );
}

#[test]
fn a_replacement_ends_the_fallback() {
    check(
        &service(http()),
        &[slice(&[endpoint(2, "a", "serving"), endpoint(3, "b", "ready")])],
        &leaving(&["a"], START),
        &expect![[r"
            shop/web/tcp/http: 10.96.0.5:80/tcp -> [10.244.0.3:8080 (b)]
        "]],
    );
}

#[test]
fn an_endpoint_without_a_pod_is_the_pod_that_has_its_address() {
    let mut anonymous = endpoint(2, "", "ready");
    anonymous["targetRef"].take();
    let mut departures = Departures::default();
    let pod = json!({ "metadata": { "uid": "a" }, "status": { "podIP": "10.244.0.2" } });
    departures.observe(&serde_json::from_value(pod).unwrap(), START);
    check(
        &service(http()),
        &[slice(std::slice::from_ref(&anonymous))],
        &departures,
        &expect![[r"
        shop/web/tcp/http: 10.96.0.5:80/tcp -> [10.244.0.2:8080 (a)]
    "]],
    );
    check(
        &service(http()),
        &[slice(&[anonymous])],
        &Departures::default(),
        &expect![[r"
        shop/web/tcp/http: 10.96.0.5:80/tcp -> [10.244.0.2:8080 (-)]
    "]],
    );
}

#[test]
fn each_port_finds_its_own_by_name_and_transport() {
    let spec = json!({ "ports": [
        { "name": "http", "port": 80 },
        { "name": "dns", "port": 53, "protocol": "UDP" },
        { "name": "missing", "port": 81 },
        { "name": "sctp", "port": 82, "protocol": "SCTP" },
    ] });
    check(
        &service(spec),
        &[slice(&[endpoint(2, "a", "ready")])],
        &Departures::default(),
        &expect![[r"
        shop/web/tcp/http: 10.96.0.5:80/tcp -> [10.244.0.2:8080 (a)]
        shop/web/udp/dns: 10.96.0.5:53/udp -> [10.244.0.2:5353 (a)]
        shop/web/tcp/missing: 10.96.0.5:81/tcp -> []
    "]],
    );
}

#[test]
fn what_has_no_address_has_no_route() {
    for spec in [
        json!({ "clusterIP": "None", "ports": [{ "name": "http", "port": 80 }] }),
        json!({ "type": "ExternalName", "externalName": "example.com", "ports": [{ "name": "http", "port": 80 }] }),
        json!({ "clusterIP": "10.96.0.10", "ports": [{ "name": "http", "port": 80 }] }),
    ] {
        check(&service(spec), &[slice(&[endpoint(2, "a", "ready")])], &Departures::default(), &expect![""]);
    }
}

#[test]
fn what_is_labelled_as_somebody_else_s_is_left_to_them() {
    let mut service = service(json!({ "type": "LoadBalancer", "ports": [{ "name": "http", "port": 80, "nodePort": 30080 }] }));
    for label in ["service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"] {
        service.metadata.labels = Some([(label.to_owned(), String::new())].into());
        check(&service, &[slice(&[endpoint(2, "a", "ready")])], &Departures::default(), &expect![""]);
    }
}

#[test]
fn node_ports_are_published() {
    let spec = json!({ "type": "NodePort", "ports": [{ "name": "http", "port": 80, "nodePort": 30080 }] });
    check(
        &service(spec),
        &[slice(&[endpoint(2, "a", "ready")])],
        &Departures::default(),
        &expect![[r"
        shop/web/tcp/http: 10.96.0.5:80/tcp 10.244.0.1:30080/tcp -> [10.244.0.2:8080 (a)]
        host port 30080 -> 10.244.0.1:30080/tcp
    "]],
    );
}

#[test]
fn a_load_balancer_needs_no_node_port() {
    let port = json!([{ "name": "http", "port": 80, "nodePort": 30080 }]);
    let slices = [slice(&[endpoint(2, "a", "ready")])];
    check(
        &service(json!({ "type": "LoadBalancer", "ports": port })),
        &slices,
        &Departures::default(),
        &expect![[r"
        shop/web/tcp/http: 10.96.0.5:80/tcp 10.244.0.1:30080/tcp -> [10.244.0.2:8080 (a)]
        host port 30080 -> 10.244.0.1:30080/tcp
        host port 80 -> 10.244.0.1:30080/tcp
    "]],
    );
    let spec = json!({ "type": "LoadBalancer", "ports": [{ "name": "http", "port": 80 }] });
    check(
        &service(spec),
        &slices,
        &Departures::default(),
        &expect![[r"
        shop/web/tcp/http: 10.96.0.5:80/tcp -> [10.244.0.2:8080 (a)]
        host port 80 -> 10.96.0.5:80/tcp
    "]],
    );
    check(
        &service(json!({ "type": "LoadBalancer", "loadBalancerClass": "example.com/other", "ports": port })),
        &slices,
        &Departures::default(),
        &expect![[r"
        shop/web/tcp/http: 10.96.0.5:80/tcp 10.244.0.1:30080/tcp -> [10.244.0.2:8080 (a)]
        host port 30080 -> 10.244.0.1:30080/tcp
    "]],
    );
}

#[test]
fn policies_that_differ_make_two_routes() {
    let mut elsewhere = endpoint(3, "b", "ready");
    elsewhere["nodeName"] = json!("elsewhere");
    let slices = [slice(&[endpoint(2, "a", "ready"), elsewhere])];
    let ports = json!([{ "name": "http", "port": 80, "nodePort": 30080 }]);
    let spec = json!({ "type": "NodePort", "externalTrafficPolicy": "Local", "ports": ports });
    check(
        &service(spec),
        &slices,
        &Departures::default(),
        &expect![[r"
        shop/web/tcp/http: 10.96.0.5:80/tcp -> [10.244.0.2:8080 (a) 10.244.0.3:8080 (b)]
        shop/web/tcp/http/external: 10.244.0.1:30080/tcp -> [10.244.0.2:8080 (a)]
        host port 30080 -> 10.244.0.1:30080/tcp
    "]],
    );
    let spec = json!({ "internalTrafficPolicy": "Local", "ports": ports });
    check(
        &service(spec),
        &slices,
        &Departures::default(),
        &expect![[r"
        shop/web/tcp/http: 10.96.0.5:80/tcp -> [10.244.0.2:8080 (a)]
    "]],
    );
}

#[test]
fn external_addresses_lead_where_node_ports_do() {
    let ports = json!([{ "name": "http", "port": 80 }]);
    let spec = json!({ "externalIPs": ["192.0.2.7", "10.96.0.10"], "ports": ports });
    check(
        &service(spec),
        &[slice(&[endpoint(2, "a", "ready")])],
        &Departures::default(),
        &expect![[r"
            shop/web/tcp/http: 10.96.0.5:80/tcp 192.0.2.7:80/tcp -> [10.244.0.2:8080 (a)]
        "]],
    );
}

#[test]
fn a_client_can_be_kept_with_its_backend() {
    for (config, expected) in [
        (
            json!(null),
            expect![[r"
            shop/web/tcp/http: 10.96.0.5:80/tcp -> [], 10800 s
        "]],
        ),
        (
            json!({ "clientIP": { "timeoutSeconds": 60 } }),
            expect![[r"
            shop/web/tcp/http: 10.96.0.5:80/tcp -> [], 60 s
        "]],
        ),
    ] {
        let mut spec = http();
        merge(&mut spec, json!({ "sessionAffinity": "ClientIP", "sessionAffinityConfig": config }));
        check(&service(spec), &[], &Departures::default(), &expected);
    }
}

#[test]
fn http_ports_are_routed_by_request() {
    let spec = json!({ "ports": [
        { "name": "web", "port": 80, "appProtocol": "http" },
        { "name": "sockets", "port": 81, "appProtocol": "kubernetes.io/ws" },
        { "name": "rpc", "port": 82, "appProtocol": "kubernetes.io/h2c" },
        { "name": "other", "port": 83, "appProtocol": "https" },
        { "name": "datagrams", "port": 84, "protocol": "UDP", "appProtocol": "http" },
    ] });
    let mut service = service(spec);
    let split = "new=10, old = 90,nonsense,-=x".to_owned();
    service.metadata.annotations = Some([(ANNOTATION_SPLIT.to_owned(), split)].into());
    check(
        &service,
        &[],
        &Departures::default(),
        &expect![[r#"
            shop/web/tcp/web: 10.96.0.5:80/tcp -> [], http/1 {"new": 10, "old": 90}
            shop/web/tcp/sockets: 10.96.0.5:81/tcp -> [], http/1 {"new": 10, "old": 90}
            shop/web/tcp/rpc: 10.96.0.5:82/tcp -> [], http/2 {"new": 10, "old": 90}
            shop/web/tcp/other: 10.96.0.5:83/tcp -> []
            shop/web/udp/datagrams: 10.96.0.5:84/udp -> []
        "#]],
    );
}
