//! Service, Endpoints, EndpointSlice.

use expect_test::expect;
use serde_json::{Value, json};

use super::super::NameRule;
use super::{create, update, warn};

fn service(change: impl FnOnce(&mut Value)) -> Value {
    let mut service = json!({ "metadata": { "name": "web" }, "spec": {
        "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "selector": { "app": "web" },
        "ports": [{ "port": 80 }],
    } });
    change(&mut service["spec"]);
    service
}

#[test]
fn ports() {
    create("", "Service", service(|_| {}), expect![[r#""#]]);
    create(
        "",
        "Service",
        service(|spec| spec["ports"] = json!([])),
        expect![[r#"
        spec.ports: Required value
    "#]],
    );
    create(
        "",
        "Service",
        service(|spec| spec["ports"] = json!([{ "port": 0, "protocol": "ICMP", "targetPort": "Bad--name" }])),
        expect![[r#"
            spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive
            spec.ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"
            spec.ports[0].targetPort: Invalid value: "Bad--name": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)
            spec.ports[0].targetPort: Invalid value: "Bad--name": must not contain consecutive hyphens
        "#]],
    );
    create(
        "",
        "Service",
        service(|spec| {
            spec["ports"] = json!([
                { "name": "a", "port": 80, "nodePort": 30000 },
                { "name": "a", "port": 80, "targetPort": 70000 },
                { "port": 81, "appProtocol": "not ok" },
            ]);
        }),
        expect![[r#"
            spec.ports[1].name: Duplicate value: "a"
            spec.ports[1].targetPort: Invalid value: 70000: must be between 1 and 65535, inclusive
            spec.ports[2].name: Required value
            spec.ports[2].appProtocol: Invalid value: "not ok": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'
            spec.ports[1]: Duplicate value: {"Name":"","Protocol":"TCP","AppProtocol":null,"Port":80,"TargetPort":0,"NodePort":0}
        "#]],
    );
    create(
        "",
        "Service",
        service(|spec| {
            spec["type"] = json!("NodePort");
            spec["ports"] =
                json!([{ "name": "a", "port": 80, "nodePort": 30000 }, { "name": "b", "port": 81, "nodePort": 30000 }]);
        }),
        expect![[r#"
            spec.ports[1].nodePort: Duplicate value: 30000
        "#]],
    );
}

#[test]
fn types() {
    create(
        "",
        "Service",
        service(|spec| {
            spec["type"] = json!("Telepathy");
            spec["sessionAffinity"] = json!("Love");
            spec["ipFamilies"] = json!(["IPv5", "IPv4", "IPv4"]);
            spec["externalIPs"] = json!(["nowhere", "127.0.0.1"]);
        }),
        expect![[r#"
            spec.sessionAffinity: Unsupported value: "Love": supported values: "ClientIP", "None"
            spec.ipFamilies[0]: Unsupported value: "IPv5": supported values: "IPv4", "IPv6"
            spec.ipFamilies[2]: Duplicate value: "IPv4"
            spec.externalIPs[0]: Invalid value: "nowhere": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
            spec.externalIPs[1]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)
            spec.type: Unsupported value: "Telepathy": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"
        "#]],
    );
    create(
        "",
        "Service",
        service(|spec| spec["type"] = json!("ExternalName")),
        expect![[r#"
        spec.clusterIPs: Forbidden: may not be set for ExternalName services
        spec.externalName: Required value
    "#]],
    );
    create(
        "",
        "Service",
        service(|spec| {
            spec["type"] = json!("LoadBalancer");
            spec["clusterIP"] = json!("None");
            spec["clusterIPs"] = json!(["None"]);
            spec["externalTrafficPolicy"] = json!("Local");
            spec["loadBalancerSourceRanges"] = json!(["10.0.0.0/8", "ten"]);
        }),
        expect![[r#"
            spec.clusterIPs[0]: Invalid value: "None": may not be set to 'None' for LoadBalancer services
            spec.LoadBalancerSourceRanges[1]: Invalid value: "ten": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)
            spec.healthCheckNodePort: Required value
        "#]],
    );
    create(
        "",
        "Service",
        service(|spec| {
            spec["externalTrafficPolicy"] = json!("Cluster");
            spec["healthCheckNodePort"] = json!(30000);
            spec["allocateLoadBalancerNodePorts"] = json!(false);
            spec["loadBalancerClass"] = json!("example.com/x");
            spec["trafficDistribution"] = json!("Nearby");
        }),
        expect![[r#"
            spec.allocateLoadBalancerNodePorts: Forbidden: may only be used when `type` is 'LoadBalancer'
            spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'
            spec.externalTrafficPolicy: Invalid value: "Cluster": may only be set for externally-accessible services
            spec.healthCheckNodePort: Invalid value: 30000: may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'
            spec.trafficDistribution: Unsupported value: "Nearby": supported values: "PreferClose", "PreferSameNode", "PreferSameZone"
        "#]],
    );
}

#[test]
fn cluster_ips() {
    create(
        "",
        "Service",
        service(|spec| spec["clusterIPs"] = json!(["10.0.0.2"])),
        expect![[r#"
        spec.clusterIPs: Invalid value: ["10.0.0.2"]: first value must match `clusterIP`
    "#]],
    );
    create(
        "",
        "Service",
        service(|spec| spec["clusterIPs"] = json!(["10.0.0.1", "10.0.0.2"])),
        expect![[r#"
        spec.clusterIPs: Invalid value: ["10.0.0.1","10.0.0.2"]: may specify no more than one IP for each IP family
    "#]],
    );
    create(
        "",
        "Service",
        service(|spec| {
            spec["clusterIP"] = json!("ten");
            spec["clusterIPs"] = json!(["ten"]);
        }),
        expect![[r#"
            spec.clusterIPs[0]: Invalid value: "ten": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
        "#]],
    );
    update(
        "",
        "Service",
        service(|_| {}),
        |object| {
            object["spec"]["clusterIP"] = json!("10.0.0.9");
            object["spec"]["clusterIPs"] = json!(["10.0.0.9"]);
        },
        expect![[r#"
            spec.clusterIPs[0]: Invalid value: ["10.0.0.9"]: may not change once set
        "#]],
    );
    update(
        "",
        "Service",
        service(|_| {}),
        |object| {
            object["spec"].as_object_mut().unwrap().retain(|name, _| !name.starts_with("clusterIP"));
        },
        expect![[r#"
            spec.clusterIPs[0]: Invalid value: null: primary clusterIP can not be unset
        "#]],
    );
    update("", "Service", service(|_| {}), |object| object["spec"]["selector"]["app"] = json!("green"), expect![[r#""#]]);
}

#[test]
fn endpoints() {
    create(
        "",
        "Endpoints",
        json!({ "subsets": [
            {},
            { "addresses": [{ "ip": "169.254.1.1" }, { "ip": "x" }], "ports": [{ "port": 0 }, { "port": 1, "name": "ok" }] },
        ] }),
        expect![[r#"
            subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`
            subsets[1].addresses[0].ip: Invalid value: "169.254.1.1": may not be in the link-local range (169.254.0.0/16, fe80::/10)
            subsets[1].addresses[1].ip: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
            subsets[1].addresses[1].ip: Invalid value: "x": must be a valid IP address
            subsets[1].ports[0].name: Required value
            subsets[1].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive
        "#]],
    );
    create(
        "discovery.k8s.io",
        "EndpointSlice",
        json!({ "addressType": "IPv4", "endpoints": [{ "addresses": ["::1", "10.0.0.1"] }, {}], "ports": [{ "port": 1 }, { "port": 2 }] }),
        expect![[r#"
            endpoints[0].addresses[0]: Invalid value: "::1": must be a valid IPv4 address
            endpoints[0].addresses[0]: Invalid value: "::1": may not be in the loopback range (127.0.0.0/8, ::1/128)
            endpoints[1].addresses: Required value: must contain at least 1 address
            ports[1].name: Duplicate value: ""
        "#]],
    );
    create(
        "discovery.k8s.io",
        "EndpointSlice",
        json!({ "addressType": "MAC" }),
        expect![[r#"
        addressType: Unsupported value: "MAC": supported values: "FQDN", "IPv4", "IPv6"
    "#]],
    );
}

#[test]
fn warnings() {
    warn(
        "",
        "Service",
        service(|spec| {
            spec["externalIPs"] = json!(["010.0.0.1"]);
            spec["externalName"] = json!("x");
            spec["trafficDistribution"] = json!("PreferClose");
        }),
        expect![[r#"
            spec.externalIPs[0]: non-standard IP address "010.0.0.1" will be considered invalid in a future Kubernetes release: use "10.0.0.1"
            spec.externalIPs is deprecated and may no longer be implemented in some clusters
            spec.externalName is ignored when spec.type is not "ExternalName"
            spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"
        "#]],
    );
}

#[test]
fn addresses_are_written_in_one_way() {
    let name = |name: &str| NameRule::of("networking.k8s.io", "IPAddress").check(name).join("; ");
    for good in ["255.255.255.255", "fe80::42:1dff:fe84:f9e2", "::"] {
        assert_eq!(name(good), "", "{good}");
    }
    for (bad, wrong) in [
        ("bar", "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"),
        ("10.01.2.3", "must not have leading 0s"),
        ("::ffff:1.2.3.4", "must not be an IPv4-mapped IPv6 address"),
        ("2001:db8:0:0:0::1", "must be in canonical form (\"2001:db8::1\")"),
    ] {
        assert_eq!(name(bad), wrong, "{bad}");
    }
    let parent = json!({ "resource": "myresources", "name": "bar", "namespace": "foo" });
    update(
        "networking.k8s.io",
        "IPAddress",
        json!({ "spec": { "parentRef": parent } }),
        |address| address["spec"]["parentRef"] = json!({ "group": "Mine", "name": "a/b" }),
        expect![[r#"
            spec.parentRef.group: Invalid value: "Mine": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec.parentRef.resource: Required value
            spec.parentRef.name: Invalid value: "a/b": may not contain '/'
            spec.parentRef: Invalid value: {"Group":"Mine","Resource":"","Namespace":"","Name":"a/b"}: field is immutable
        "#]],
    );
    create(
        "networking.k8s.io",
        "IPAddress",
        json!({}),
        expect![[r"
        spec.parentRef: Required value
    "]],
    );
}

#[test]
fn ranges_of_services() {
    let range =
        |cidrs: &[&str], expected| create("networking.k8s.io", "ServiceCIDR", json!({ "spec": { "cidrs": cidrs } }), expected);
    range(&["10.96.0.0/16"], expect![""]);
    range(&["2001:db8::/64", "0.0.0.0/0"], expect![""]);
    range(
        &[],
        expect![[r"
        spec.cidrs: Required value: at least one CIDR required
    "]],
    );
    range(
        &["a", "b", "c"],
        expect![[r#"
        spec.cidrs: Invalid value: {"CIDRs":["a","b","c"]}: may only hold up to 2 values
    "#]],
    );
    range(
        &["10.0.0.0/8", "11.0.0.0/8"],
        expect![[r#"
        spec.cidrs: Invalid value: {"CIDRs":["10.0.0.0/8","11.0.0.0/8"]}: may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64
    "#]],
    );
    for (bad, wrong) in [
        ("10.0.0.0", "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"),
        ("10.0.0.0/08", "must not have leading 0s in IP or prefix length"),
        ("::ffff:1.2.3.0/120", "must not have an IPv4-mapped IPv6 address"),
        ("10.0.0.1/8", "must not have bits set beyond the prefix length"),
        ("2001:DB8::/64", "must be in canonical form (\"2001:db8::/64\")"),
    ] {
        let errors = super::super::create("networking.k8s.io", "ServiceCIDR", &json!({ "spec": { "cidrs": [bad] } }));
        assert_eq!(super::lines(&errors), format!("spec.cidrs[0]: Invalid value: \"{bad}\": {wrong}\n"));
    }
    update(
        "networking.k8s.io",
        "ServiceCIDR",
        json!({ "spec": { "cidrs": ["10.96.0.0/16"] } }),
        |range| range["spec"]["cidrs"] = json!(["10.97.0.0/16"]),
        expect![[r#"
            spec.cidrs: Invalid value: ["10.97.0.0/16"]: field is immutable
        "#]],
    );
}
