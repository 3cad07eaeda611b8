//! One or more objects of every kind but Pod and the workloads.

use expect_test::expect;
use serde_json::{Value, json};

use super::{check, now};
use crate::kind::{coordination, core, discovery, events, networking, node, rbac, scheduling, storage};

#[test]
fn services() {
    let service = |name: &str, mut spec: Value, ingress: Value| {
        if spec["clusterIPs"].is_null() {
            spec["clusterIPs"] = json!(["10.0.0.10"]);
        }
        json!({ "metadata": { "name": name }, "spec": spec, "status": { "loadBalancer": { "ingress": ingress } } })
    };
    let http = json!([{ "port": 80, "protocol": "TCP" }]);
    let both =
        json!([{ "port": 80, "protocol": "TCP", "nodePort": 30080 }, { "port": 53, "protocol": "UDP", "nodePort": 30053 }]);
    check(
        &core::SERVICE,
        &[
            service("cluster", json!({ "type": "ClusterIP", "ports": http, "selector": { "app": "web", "a": "b" } }), json!([])),
            service("headless", json!({ "type": "ClusterIP", "clusterIPs": ["None"] }), json!([])),
            service("external", json!({ "type": "ClusterIP", "ports": http, "externalIPs": ["1.2.3.4", "5.6.7.8"] }), json!([])),
            service("node-port", json!({ "type": "NodePort", "ports": both }), json!([])),
            service("pending", json!({ "type": "LoadBalancer", "ports": both }), json!([])),
            service(
                "balanced",
                json!({ "type": "LoadBalancer", "ports": both, "externalIPs": ["9.9.9.9"] }),
                json!([{ "ip": "127.0.0.2" }, { "hostname": "a.example" }, { "ip": "127.0.0.1" }]),
            ),
            service("name", json!({ "type": "ExternalName", "externalName": "db.example", "clusterIPs": [] }), json!([])),
        ],
        expect![[r#"
            NAME        TYPE           CLUSTER-IP   EXTERNAL-IP                             PORT(S)                     AGE   SELECTOR
            cluster     ClusterIP      10.0.0.10    <none>                                  80/TCP                      5m    a=b,app=web
            headless    ClusterIP      None         <none>                                  <none>                      5m    <none>
            external    ClusterIP      10.0.0.10    1.2.3.4,5.6.7.8                         80/TCP                      5m    <none>
            node-port   NodePort       10.0.0.10    <none>                                  80:30080/TCP,53:30053/UDP   5m    <none>
            pending     LoadBalancer   10.0.0.10    <pending>                               80:30080/TCP,53:30053/UDP   5m    <none>
            balanced    LoadBalancer   10.0.0.10    127.0.0.1,127.0.0.2,a.example,9.9.9.9   80:30080/TCP,53:30053/UDP   5m    <none>
            name        ExternalName   <none>       db.example                              <none>                      5m    <none>
        "#]],
    );
}

#[test]
fn endpoints() {
    let ips = |count: usize| (1..=count).map(|n| json!({ "ip": format!("10.1.0.{n}") })).collect::<Vec<_>>();
    let endpoints = |name: &str, subsets: Value| json!({ "metadata": { "name": name }, "subsets": subsets });
    check(
        &core::ENDPOINTS,
        &[
            endpoints("none", json!([])),
            endpoints("not-ready", json!([{ "notReadyAddresses": ips(1), "ports": [{ "port": 80 }] }])),
            endpoints("two", json!([{ "addresses": ips(2), "ports": [{ "port": 80 }] }])),
            endpoints("four", json!([{ "addresses": ips(4), "ports": [{ "port": 80 }] }])),
            endpoints("ports", json!([{ "addresses": ips(2), "ports": [{ "port": 80 }, { "port": 443 }] }])),
            endpoints("headless", json!([{ "addresses": ips(1) }])),
            endpoints("six", json!([{ "addresses": [{ "ip": "fd00::1" }], "ports": [{ "port": 80 }] }])),
        ],
        expect![[r#"
            NAME        ENDPOINTS                                          AGE
            none        <none>                                             5m
            not-ready                                                      5m
            two         10.1.0.1:80,10.1.0.2:80                            5m
            four        10.1.0.1:80,10.1.0.2:80,10.1.0.3:80 + 1 more...    5m
            ports       10.1.0.1:80,10.1.0.2:80,10.1.0.1:443 + 1 more...   5m
            headless    10.1.0.1                                           5m
            six         [fd00::1]:80                                       5m
        "#]],
    );
    let addresses = |count: usize| (1..=count).map(|n| json!({ "addresses": [format!("10.1.0.{n}")] })).collect::<Vec<_>>();
    let slice = |name: &str, ports: Value, count: usize| json!({ "metadata": { "name": name }, "addressType": "IPv4", "ports": ports, "endpoints": addresses(count) });
    check(
        &discovery::ENDPOINT_SLICE,
        &[
            slice("empty", json!([]), 0),
            slice("two", json!([{ "port": 80 }]), 2),
            slice("many", json!([{ "port": 1 }, { "name": "b" }, {}, { "port": 4 }]), 5),
        ],
        expect![[r#"
            NAME    ADDRESSTYPE   PORTS               ENDPOINTS                                AGE
            empty   IPv4          <unset>             <unset>                                  5m
            two     IPv4          80                  10.1.0.1,10.1.0.2                        5m
            many    IPv4          1,b,* + 1 more...   10.1.0.1,10.1.0.2,10.1.0.3 + 2 more...   5m
        "#]],
    );
}

#[test]
fn nodes() {
    let node = |name: &str, labels: Value, ready: &str| {
        json!({
            "metadata": { "name": name, "labels": labels },
            "status": {
                "conditions": [{ "type": "Ready", "status": ready }],
                "addresses": [{ "type": "Hostname", "address": name }, { "type": "InternalIP", "address": "192.168.0.2" }],
                "nodeInfo": {
                    "kubeletVersion": "v1.36.0", "osImage": "Debian GNU/Linux 12 (bookworm)", "kernelVersion": "6.1.0",
                    "containerRuntimeVersion": "windlass://0.1.0",
                },
            },
        })
    };
    let roles =
        json!({ "node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/control-plane": "", "kubernetes.io/role": "db" });
    let mut cordoned = node("cordoned", json!({}), "True");
    cordoned["spec"]["unschedulable"] = json!(true);
    check(
        &core::NODE,
        &[
            node("ready", roles, "True"),
            node("lost", json!({}), "Unknown"),
            cordoned,
            json!({ "metadata": { "name": "new" }, "status": { "nodeInfo": { "kubeletVersion": "v1.36.0" } } }),
        ],
        expect![[r#"
            NAME       STATUS                     ROLES                     AGE   VERSION   INTERNAL-IP   EXTERNAL-IP   OS-IMAGE                         KERNEL-VERSION   CONTAINER-RUNTIME
            ready      Ready                      control-plane,db,worker   5m    v1.36.0   192.168.0.2   <none>        Debian GNU/Linux 12 (bookworm)   6.1.0            windlass://0.1.0
            lost       NotReady                   <none>                    5m    v1.36.0   192.168.0.2   <none>        Debian GNU/Linux 12 (bookworm)   6.1.0            windlass://0.1.0
            cordoned   Ready,SchedulingDisabled   <none>                    5m    v1.36.0   192.168.0.2   <none>        Debian GNU/Linux 12 (bookworm)   6.1.0            windlass://0.1.0
            new        Unknown                    <none>                    5m    v1.36.0   <none>        <none>        <unknown>                        <unknown>        <unknown>
        "#]],
    );
}

#[test]
fn events_of_both_groups() {
    let involved = json!({ "kind": "Pod", "name": "web", "fieldPath": "spec.containers{nginx}" });
    let core_event = json!({
        "metadata": { "name": "web.1" }, "involvedObject": involved, "type": "Normal", "reason": "Pulled",
        "message": " Container image already present \n", "source": { "component": "kubelet", "host": "node-1" },
        "firstTimestamp": "2024-01-01T23:50:00Z", "lastTimestamp": "2024-01-01T23:59:00Z", "count": 5,
    });
    let single = json!({
        "metadata": { "name": "web.2" }, "involvedObject": { "kind": "Node" }, "type": "Warning", "reason": "FailedScheduling",
        "message": "0/1 nodes are available", "reportingComponent": "scheduler", "eventTime": "2024-01-01T23:58:00.000000Z",
    });
    let series = json!({
        "metadata": { "name": "web.3" }, "involvedObject": { "kind": "Pod", "name": "web" }, "type": "Normal", "reason": "Again",
        "reportingComponent": "scheduler", "reportingInstance": "one", "eventTime": "2024-01-01T23:58:00.000000Z",
        "series": { "count": 9, "lastObservedTime": "2024-01-01T23:59:50.000000Z" },
    });
    let all = [core_event, single, series];
    for event in &all {
        let newer = crate::events::from_core(event);
        assert_eq!((events::EVENT.row)(&newer, now()), (core::EVENT.row)(event, now()));
    }
    check(
        &core::EVENT,
        &all,
        expect![[r#"
        LAST SEEN   TYPE      REASON             OBJECT    SUBOBJECT                SOURCE            MESSAGE                           FIRST SEEN   COUNT   NAME
        60s         Normal    Pulled             pod/web   spec.containers{nginx}   kubelet, node-1   Container image already present   10m          5       web.1
        2m          Warning   FailedScheduling   node                               scheduler         0/1 nodes are available           2m           1       web.2
        10s         Normal    Again              pod/web                            scheduler, one                                      2m           9       web.3
    "#]],
    );
}

#[test]
fn configuration() {
    check(
        &core::NAMESPACE,
        &[json!({ "metadata": { "name": "default" }, "status": { "phase": "Active" } })],
        expect![[r#"
        NAME      STATUS   AGE
        default   Active   5m
    "#]],
    );
    check(
        &core::CONFIG_MAP,
        &[
            json!({ "metadata": { "name": "both" }, "data": { "a": "1", "b": "2" }, "binaryData": { "c": "" } }),
            json!({ "metadata": { "name": "empty" } }),
        ],
        expect![[r#"
            NAME    DATA   AGE
            both    3      5m
            empty   0      5m
        "#]],
    );
    check(
        &core::SECRET,
        &[json!({ "metadata": { "name": "s" }, "type": "Opaque", "data": { "a": "MQ==" } })],
        expect![[r#"
        NAME   TYPE     DATA   AGE
        s      Opaque   1      5m
    "#]],
    );
    check(
        &core::SERVICE_ACCOUNT,
        &[json!({ "metadata": { "name": "default" } })],
        expect![[r#"
        NAME      SECRETS   AGE
        default   0         5m
    "#]],
    );
}

#[test]
fn limits_and_classes() {
    check(
        &core::LIMIT_RANGE,
        &[json!({ "metadata": { "name": "limits" } })],
        expect![[r#"
        NAME     CREATED AT
        limits   2024-01-01T23:55:00Z
    "#]],
    );
    check(
        &core::RESOURCE_QUOTA,
        &[json!({ "metadata": { "name": "quota" }, "status": {
        "hard": { "requests.cpu": "1", "limits.cpu": "2", "pods": "10" }, "used": { "pods": "3", "limits.cpu": "500m" },
    } })],
        expect![[r#"
            NAME    REQUEST                         LIMIT                AGE
            quota   pods: 3/10, requests.cpu: 0/1   limits.cpu: 500m/2   5m
        "#]],
    );
    check(
        &coordination::LEASE,
        &[json!({ "metadata": { "name": "node-1" }, "spec": { "holderIdentity": "node-1" } })],
        expect![[r#"
            NAME     HOLDER   AGE
            node-1   node-1   5m
        "#]],
    );
    check(
        &scheduling::PRIORITY_CLASS,
        &[
            json!({ "metadata": { "name": "high" }, "value": 1000, "globalDefault": true, "preemptionPolicy": "PreemptLowerPriority" }),
        ],
        expect![[r#"
            NAME   VALUE   GLOBAL-DEFAULT   AGE   PREEMPTIONPOLICY
            high   1000    true             5m    PreemptLowerPriority
        "#]],
    );
}

#[test]
fn persistent_storage() {
    let bound = json!({
        "metadata": { "name": "bound" }, "status": { "phase": "Bound" },
        "spec": {
            "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteMany", "ReadWriteOnce"], "volumeMode": "Filesystem",
            "persistentVolumeReclaimPolicy": "Delete", "storageClassName": "standard",
            "claimRef": { "namespace": "default", "name": "data" },
        },
    });
    let mut going = bound.clone();
    going["metadata"] = json!({ "name": "going", "deletionTimestamp": "2024-01-01T23:59:00Z" });
    check(
        &core::PERSISTENT_VOLUME,
        &[bound, going, json!({ "metadata": { "name": "bare" } })],
        expect![[r#"
        NAME    CAPACITY   ACCESS MODES   RECLAIM POLICY   STATUS        CLAIM          STORAGECLASS   VOLUMEATTRIBUTESCLASS   REASON   AGE   VOLUMEMODE
        bound   1Gi        RWO,RWX        Delete           Bound         default/data   standard       <unset>                          5m    Filesystem
        going   1Gi        RWO,RWX        Delete           Terminating   default/data   standard       <unset>                          5m    Filesystem
        bare    0                                                                                      <unset>                          5m    <unset>
    "#]],
    );
    check(
        &core::PERSISTENT_VOLUME_CLAIM,
        &[
            json!({
                "metadata": { "name": "bound" },
                "spec": { "volumeName": "pv-1", "storageClassName": "standard", "volumeMode": "Filesystem" },
                "status": { "phase": "Bound", "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteOnce"] },
            }),
            json!({
                "metadata": { "name": "pending", "annotations": { "volume.beta.kubernetes.io/storage-class": "old" } },
                "spec": { "resources": { "requests": { "storage": "1Gi" } } }, "status": { "phase": "Pending" },
            }),
        ],
        expect![[r#"
            NAME      STATUS    VOLUME   CAPACITY   ACCESS MODES   STORAGECLASS   VOLUMEATTRIBUTESCLASS   AGE   VOLUMEMODE
            bound     Bound     pv-1     1Gi        RWO            standard       <unset>                 5m    Filesystem
            pending   Pending                                      old            <unset>                 5m    <unset>
        "#]],
    );
    let default = json!({ "storageclass.kubernetes.io/is-default-class": "true" });
    check(
        &storage::STORAGE_CLASS,
        &[
            json!({
                "metadata": { "name": "standard", "annotations": default }, "provisioner": "windlass.dev/local",
                "reclaimPolicy": "Retain", "volumeBindingMode": "WaitForFirstConsumer", "allowVolumeExpansion": true,
            }),
            json!({ "metadata": { "name": "plain" }, "provisioner": "example.com/disk" }),
        ],
        expect![[r#"
            NAME                 PROVISIONER          RECLAIMPOLICY   VOLUMEBINDINGMODE      ALLOWVOLUMEEXPANSION   AGE
            standard (default)   windlass.dev/local   Retain          WaitForFirstConsumer   true                   5m
            plain                example.com/disk     Delete          Immediate              false                  5m
        "#]],
    );
}

#[test]
fn roles_and_bindings() {
    check(
        &rbac::CLUSTER_ROLE,
        &[json!({ "metadata": { "name": "admin" } })],
        expect![[r#"
        NAME    CREATED AT
        admin   2024-01-01T23:55:00Z
    "#]],
    );
    let binding = json!({
        "metadata": { "name": "admins" }, "roleRef": { "kind": "ClusterRole", "name": "admin" },
        "subjects": [
            { "kind": "User", "name": "ann" }, { "kind": "Group", "name": "ops" }, { "kind": "User", "name": "bob" },
            { "kind": "ServiceAccount", "namespace": "default", "name": "ci" },
        ],
    });
    check(
        &rbac::ROLE_BINDING,
        &[binding],
        expect![[r#"
        NAME     ROLE                AGE   USERS      GROUPS   SERVICEACCOUNTS
        admins   ClusterRole/admin   5m    ann, bob   ops      default/ci
    "#]],
    );
}

#[test]
fn addresses_and_their_ranges() {
    let address = |name: &str, parent: Value| json!({ "metadata": { "name": name }, "spec": { "parentRef": parent } });
    check(
        &networking::IP_ADDRESS,
        &[
            address("10.96.0.1", json!({ "resource": "services", "namespace": "default", "name": "kubernetes" })),
            address("fe80::1", json!({ "group": "example.com", "resource": "Gateways", "name": "edge" })),
            address("::", Value::Null),
        ],
        expect![[r"
            NAME        PARENTREF
            10.96.0.1   services/default/kubernetes
            fe80::1     gateways.example.com/edge
            ::          <none>
        "]],
    );
    check(
        &networking::SERVICE_CIDR,
        &[json!({ "metadata": { "name": "kubernetes" }, "spec": { "cidrs": ["10.96.0.0/16", "2001:db8::/112"] } })],
        expect![[r"
            NAME         CIDRS                         AGE
            kubernetes   10.96.0.0/16,2001:db8::/112   5m
        "]],
    );
}

#[test]
fn runtime_classes() {
    check(
        &node::RUNTIME_CLASS,
        &[json!({ "metadata": { "name": "sandboxed" }, "handler": "kata" })],
        expect![[r"
            NAME        HANDLER   AGE
            sandboxed   kata      5m
        "]],
    );
}
