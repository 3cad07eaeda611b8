//! What a short manifest becomes, per kind; and that doing it twice changes nothing.

mod workloads;

use expect_test::{Expect, expect};
use serde_json::{Value, json};

/// Compares what defaulting added or changed, one `path = value` a line.
#[expect(clippy::needless_pass_by_value, reason = "a fixture written in place reads better")]
fn check(group: &str, kind: &str, manifest: Value, expected: Expect) {
    let mut object = manifest.clone();
    super::apply(group, kind, &mut object);
    let once = object.clone();
    super::apply(group, kind, &mut object);
    assert_eq!(once, object, "defaulting must be idempotent");
    let mut added = String::new();
    added_leaves(&object, &manifest, "", &mut added);
    expected.assert_eq(&added);
}

fn added_leaves(new: &Value, old: &Value, path: &str, added: &mut String) {
    match new {
        _ if new == old => {}
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                let dot = if path.is_empty() { "" } else { "." };
                added_leaves(value, &old[key], &format!("{path}{dot}{key}"), added);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, value) in items.iter().enumerate() {
                added_leaves(value, &old[index], &format!("{path}[{index}]"), added);
            }
        }
        leaf => added.push_str(&format!("{path} = {leaf}\n")),
    }
}

#[test]
fn resources_of_a_whole_pod() {
    check(
        "",
        "Pod",
        json!({ "spec": {
            "enableServiceLinks": true, "dnsPolicy": "Default", "restartPolicy": "Never", "schedulerName": "mine",
            "securityContext": {}, "terminationGracePeriodSeconds": 1,
            "resources": { "limits": { "cpu": "4", "memory": "0.5Gi" } },
            "containers": [
                { "name": "a", "image": "a:1", "resources": { "requests": { "cpu": "500m" } } },
                { "name": "b", "image": "b:1", "resources": {
                    "requests": { "cpu": "250m", "ephemeral-storage": "1Gi" }, "limits": { "hugepages-2Mi": "4Mi" },
                } },
            ],
        } }),
        expect![[r#"
            spec.containers[0].imagePullPolicy = "IfNotPresent"
            spec.containers[0].terminationMessagePath = "/dev/termination-log"
            spec.containers[0].terminationMessagePolicy = "File"
            spec.containers[1].imagePullPolicy = "IfNotPresent"
            spec.containers[1].resources.requests.hugepages-2Mi = "4Mi"
            spec.containers[1].terminationMessagePath = "/dev/termination-log"
            spec.containers[1].terminationMessagePolicy = "File"
            spec.resources.limits.hugepages-2Mi = "4Mi"
            spec.resources.limits.memory = "512Mi"
            spec.resources.requests.cpu = "750m"
            spec.resources.requests.hugepages-2Mi = "4Mi"
            spec.resources.requests.memory = "512Mi"
            status = {}
        "#]],
    );
}

#[test]
fn pod_with_every_volume() {
    check(
        "",
        "Pod",
        json!({ "spec": {
            "hostNetwork": true,
            "serviceAccountName": "robot",
            "containers": [{
                "image": "nginx:1.16.1",
                "ports": [{ "containerPort": 80 }],
                "resources": { "limits": { "cpu": "1", "memory": "1Gi" }, "requests": { "cpu": "500m" } },
            }],
            "volumes": [
                { "name": "a" },
                { "name": "b", "configMap": { "name": "b" } },
                { "name": "c", "secret": { "secretName": "c", "defaultMode": 256 } },
                { "name": "d", "hostPath": { "path": "/d" } },
                { "name": "e", "downwardAPI": { "items": [{ "path": "n", "fieldRef": { "fieldPath": "metadata.name" } }] } },
                { "name": "f", "projected": { "sources": [{ "serviceAccountToken": { "path": "token" } }] } },
                { "name": "g", "ephemeral": { "volumeClaimTemplate": { "spec": { "accessModes": ["ReadWriteOnce"] } } } },
                { "name": "h", "image": { "reference": "data:latest" } },
            ],
        } }),
        expect![[r#"
            spec.containers[0].imagePullPolicy = "IfNotPresent"
            spec.containers[0].ports[0].hostPort = 80
            spec.containers[0].ports[0].protocol = "TCP"
            spec.containers[0].resources.requests.memory = "1Gi"
            spec.containers[0].terminationMessagePath = "/dev/termination-log"
            spec.containers[0].terminationMessagePolicy = "File"
            spec.dnsPolicy = "ClusterFirst"
            spec.enableServiceLinks = true
            spec.restartPolicy = "Always"
            spec.schedulerName = "default-scheduler"
            spec.securityContext = {}
            spec.serviceAccount = "robot"
            spec.terminationGracePeriodSeconds = 30
            spec.volumes[0].emptyDir = {}
            spec.volumes[1].configMap.defaultMode = 420
            spec.volumes[3].hostPath.type = ""
            spec.volumes[4].downwardAPI.defaultMode = 420
            spec.volumes[4].downwardAPI.items[0].fieldRef.apiVersion = "v1"
            spec.volumes[5].projected.defaultMode = 420
            spec.volumes[5].projected.sources[0].serviceAccountToken.expirationSeconds = 3600
            spec.volumes[6].ephemeral.volumeClaimTemplate.metadata = {}
            spec.volumes[6].ephemeral.volumeClaimTemplate.spec.resources = {}
            spec.volumes[6].ephemeral.volumeClaimTemplate.spec.volumeMode = "Filesystem"
            spec.volumes[7].image.pullPolicy = "Always"
            status = {}
        "#]],
    );
}

#[test]
fn services() {
    check(
        "",
        "Service",
        json!({ "spec": { "ports": [{ "port": 80 }, { "port": 81, "targetPort": "web" }] } }),
        expect![[r#"
        spec.internalTrafficPolicy = "Cluster"
        spec.ports[0].protocol = "TCP"
        spec.ports[0].targetPort = 80
        spec.ports[1].protocol = "TCP"
        spec.sessionAffinity = "None"
        spec.type = "ClusterIP"
        status.loadBalancer = {}
    "#]],
    );
    check(
        "",
        "Service",
        json!({ "spec": { "type": "LoadBalancer", "sessionAffinity": "ClientIP" } }),
        expect![[r#"
        spec.allocateLoadBalancerNodePorts = true
        spec.externalTrafficPolicy = "Cluster"
        spec.internalTrafficPolicy = "Cluster"
        spec.sessionAffinityConfig.clientIP.timeoutSeconds = 10800
        status.loadBalancer = {}
    "#]],
    );
    check(
        "",
        "Service",
        json!({ "spec": { "type": "ExternalName", "externalName": "example.org" } }),
        expect![[r#"
        spec.sessionAffinity = "None"
        status.loadBalancer = {}
    "#]],
    );
}

#[test]
fn small_kinds() {
    check(
        "",
        "Secret",
        json!({ "data": { "a": "QQ==" }, "stringData": { "b": "B" } }),
        expect![[r#"
        data.b = "Qg=="
        type = "Opaque"
    "#]],
    );
    check(
        "",
        "Namespace",
        json!({ "metadata": { "name": "blue" } }),
        expect![[r#"
        metadata.labels.kubernetes.io/metadata.name = "blue"
        spec = {}
        status.phase = "Active"
    "#]],
    );
    check("", "ConfigMap", json!({}), expect![[r#""#]]);
    check(
        "rbac.authorization.k8s.io",
        "RoleBinding",
        json!({ "roleRef": { "kind": "Role", "name": "r" }, "subjects": [{ "kind": "User", "name": "u" }, { "kind": "ServiceAccount" }] }),
        expect![[r#"
            roleRef.apiGroup = "rbac.authorization.k8s.io"
            subjects[0].apiGroup = "rbac.authorization.k8s.io"
        "#]],
    );
}

#[test]
fn resources_and_storage() {
    check(
        "storage.k8s.io",
        "StorageClass",
        json!({ "provisioner": "p" }),
        expect![[r#"
        reclaimPolicy = "Delete"
        volumeBindingMode = "Immediate"
    "#]],
    );
    check(
        "discovery.k8s.io",
        "EndpointSlice",
        json!({ "ports": [{ "port": 80 }] }),
        expect![[r#"
        ports[0].name = ""
        ports[0].protocol = "TCP"
    "#]],
    );
    check(
        "",
        "LimitRange",
        json!({ "spec": { "limits": [{ "type": "Container", "max": { "cpu": 2 }, "min": { "memory": "1Mi" } }] } }),
        expect![[r#"
            spec.limits[0].default.cpu = "2"
            spec.limits[0].defaultRequest.cpu = "2"
            spec.limits[0].defaultRequest.memory = "1Mi"
            spec.limits[0].max.cpu = "2"
        "#]],
    );
    check(
        "",
        "PersistentVolume",
        json!({ "spec": { "capacity": { "storage": "1Gi" }, "hostPath": { "path": "/v" } } }),
        expect![[r#"
            spec.hostPath.type = ""
            spec.persistentVolumeReclaimPolicy = "Retain"
            spec.volumeMode = "Filesystem"
            status.phase = "Pending"
        "#]],
    );
    check(
        "",
        "ReplicationController",
        json!({ "spec": { "template": { "metadata": { "labels": { "a": "b" } } } } }),
        expect![[r#"
            metadata.labels.a = "b"
            spec.replicas = 1
            spec.selector.a = "b"
            spec.template.spec.dnsPolicy = "ClusterFirst"
            spec.template.spec.restartPolicy = "Always"
            spec.template.spec.schedulerName = "default-scheduler"
            spec.template.spec.securityContext = {}
            spec.template.spec.terminationGracePeriodSeconds = 30
            status.replicas = 0
        "#]],
    );
}

#[test]
fn pull_policy_follows_the_tag() {
    let policy = super::container::pull_policy;
    for always in ["nginx", "nginx:latest", "localhost:5000/nginx", "docker.io/library/nginx", "nginx:latest@sha256:00"] {
        assert_eq!(policy(always), "Always", "{always}");
    }
    for if_not_present in ["nginx:1", "nginx@sha256:00", "localhost:5000/nginx:1", "", "Nginx", "a b"] {
        assert_eq!(policy(if_not_present), "IfNotPresent", "{if_not_present}");
    }
}

#[test]
fn wrong_types_are_left_alone() {
    for kind in ["Pod", "Service", "Secret", "Namespace", "Node", "LimitRange", "PersistentVolumeClaim", "ReplicationController"]
    {
        for mut object in
            [json!(1), json!([]), json!({ "spec": "x", "data": [], "metadata": { "name": 1, "labels": 2 }, "status": 0 })]
        {
            super::apply("", kind, &mut object);
        }
    }
    let mut pod = json!({ "spec": { "containers": [1, { "resources": { "limits": { "cpu": "1" }, "requests": 3 } }], "volumes": [null, {}] } });
    super::apply("", "Pod", &mut pod);
}

#[test]
fn a_negative_grace_period_of_a_pod_is_a_second() {
    let spec = json!({ "terminationGracePeriodSeconds": -5, "containers": [] });
    let mut pod = json!({ "spec": spec });
    super::apply("", "Pod", &mut pod);
    assert_eq!(pod["spec"]["terminationGracePeriodSeconds"], 1);
    let mut deployment = json!({ "spec": { "template": { "spec": spec } } });
    super::apply("apps", "Deployment", &mut deployment);
    assert_eq!(deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"], -5);
}
