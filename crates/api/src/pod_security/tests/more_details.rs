//! Reasons and details of profiles, and of what the restricted level asks, retyped from upstream's `check_*_test.go`.

use serde_json::{Value, json};

use super::{containers, contexts, expect, expect_of};
use crate::pod_security::{capabilities, profiles, users, volumes};

#[test]
fn se_linux() {
    let options = |options: Value| json!({ "seLinuxOptions": options });
    let kind = |kind: &str| options(json!({ "type": kind }));
    let good = [kind("container_t"), kind("container_init_t"), kind("container_kvm_t")];
    let bad = [kind("bar"), options(json!({ "user": "bar" })), options(json!({ "role": "baz" }))];
    let own = options(json!({ "type": "foo", "user": "bar", "role": "baz" }));
    let told = |who: &str, what: &str| format!("{who} set forbidden securityContext.seLinuxOptions: {what}");
    let all = "user may not be set; role may not be set";
    let cases = [
        (
            own.clone(),
            [&good[..], &bad].concat(),
            told("pod and containers \"d\", \"e\", \"f\"", &format!("types \"bar\", \"foo\"; {all}")),
        ),
        (own, good.to_vec(), told("pod", &format!("type \"foo\"; {all}"))),
        (options(json!({})), [&good[..], &bad].concat(), told("containers \"d\", \"e\", \"f\"", &format!("type \"bar\"; {all}"))),
        (json!({}), vec![bad[1].clone()], told("container \"a\"", "user may not be set")),
        (kind("container_engine_t"), Vec::new(), told("pod", "type \"container_engine_t\"")),
    ];
    for (own, each, detail) in cases {
        let spec = json!({ "securityContext": own, "containers": contexts(&each) });
        expect(profiles::se_linux, spec, Some(("seLinuxOptions", &detail)));
    }
    expect(profiles::se_linux_1_31, json!({ "securityContext": kind("container_engine_t") }), None);
}

#[test]
fn proc_mount() {
    let values = [json!(null), json!("Default"), json!("Unmasked"), json!("other")];
    let spec = json!({ "containers": containers("procMount", &values) });
    let detail = "containers \"c\", \"d\" must not set securityContext.procMount to \"Unmasked\", \"other\"";
    expect(profiles::proc_mount, spec.clone(), Some(("procMount", detail)));
    let mut own_users = spec;
    own_users["hostUsers"] = false.into();
    expect(profiles::proc_mount, own_users.clone(), Some(("procMount", detail)));
    expect(profiles::proc_mount_1_35, own_users, None);
}

#[test]
fn seccomp_annotations() {
    let (own, container) = ("seccomp.security.alpha.kubernetes.io/pod", "container.seccomp.security.alpha.kubernetes.io/");
    let pod = |annotations: Value| {
        let containers = json!([{ "name": "a" }, { "name": "b" }, { "name": "c" }]);
        json!({ "metadata": { "annotations": annotations }, "spec": { "containers": containers } })
    };
    let (a, b) = (format!("{container}a"), format!("{container}b"));
    let detail = format!("forbidden annotation {own}=\"unconfined\"");
    expect_of(profiles::seccomp_annotations, &pod(json!({ own: "unconfined" })), Some(("seccompProfile", &detail)));
    let detail = format!("forbidden annotations {a}=\"unconfined\", {b}=\"unknown\", {own}=\"unconfined\"");
    let all = pod(json!({ own: "unconfined", &a: "unconfined", &b: "unknown" }));
    expect_of(profiles::seccomp_annotations, &all, Some(("seccompProfile", &detail)));
    let fine =
        pod(json!({ own: "docker/default", &a: "localhost/x", &b: "runtime/default", format!("{container}z"): "unconfined" }));
    expect_of(profiles::seccomp_annotations, &fine, None);
}

#[test]
fn seccomp() {
    let kind = |kind: &str| json!({ "seccompProfile": { "type": kind } });
    let (good, bad) = (kind("RuntimeDefault"), kind("Unconfined"));
    let many = contexts(&[json!(null), json!({}), bad.clone(), bad.clone(), good.clone(), kind("Localhost")]);
    let told = |who: &str| format!("{who} must not set securityContext.seccompProfile.type to \"Unconfined\"");
    let cases = [
        (bad.clone(), contexts(&[json!(null)]), told("pod")),
        (good, many.clone(), told("containers \"c\", \"d\"")),
        (bad, many, told("pod and containers \"c\", \"d\"")),
    ];
    for (own, containers, detail) in cases {
        let spec = json!({ "securityContext": own, "containers": containers });
        for rule in [profiles::seccomp, profiles::seccomp_required, profiles::seccomp_required_1_25] {
            expect(rule, spec.clone(), Some(("seccompProfile", &detail)));
        }
    }
    let some = json!({ "containers": contexts(&[json!(null), json!({}), kind("RuntimeDefault"), kind("Localhost")]) });
    let detail =
        "pod or containers \"a\", \"b\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"";
    expect(profiles::seccomp, some.clone(), None);
    expect(profiles::seccomp_required, some, Some(("seccompProfile", detail)));
    let windows = json!({ "os": { "name": "windows" }, "containers": [{ "name": "a" }] });
    let detail = "pod or container \"a\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"";
    expect(profiles::seccomp_required, windows.clone(), Some(("seccompProfile", detail)));
    expect(profiles::seccomp_required_1_25, windows, None);
}

#[test]
fn escalation() {
    const REASON: &str = "allowPrivilegeEscalation != false";
    let values = [json!(null), json!(null), json!(true), json!(false)];
    let spec = json!({ "containers": containers("allowPrivilegeEscalation", &values) });
    let detail = "containers \"a\", \"b\", \"c\" must set securityContext.allowPrivilegeEscalation=false";
    expect(users::escalation, spec.clone(), Some((REASON, detail)));
    let os = |name: &str| json!({ "os": { "name": name }, "containers": [{ "name": "a" }] });
    let one = "container \"a\" must set securityContext.allowPrivilegeEscalation=false";
    expect(users::escalation, os("windows"), Some((REASON, one)));
    expect(users::escalation_1_25, os("windows"), None);
    expect(users::escalation_1_25, os("linux"), Some((REASON, one)));
}

#[test]
fn capabilities_dropped() {
    const REASON: &str = "unrestricted capabilities";
    let of = |add: &[&str], drop: &[&str]| json!({ "capabilities": { "add": add, "drop": drop } });
    let all =
        contexts(&[of(&["FOO", "BAR"], &[]), of(&["BAR", "BAZ"], &[]), of(&["NET_BIND_SERVICE", "CHOWN"], &["ALL", "FOO"])]);
    let detail = "containers \"a\", \"b\" must set securityContext.capabilities.drop=[\"ALL\"]; containers \"a\", \"b\", \"c\" must not \
         include \"BAR\", \"BAZ\", \"CHOWN\", \"FOO\" in securityContext.capabilities.add";
    expect(capabilities::restricted, json!({ "containers": all }), Some((REASON, detail)));
    let silent = |os: &str| json!({ "os": { "name": os }, "containers": [{ "name": "a" }] });
    let detail = "container \"a\" must set securityContext.capabilities.drop=[\"ALL\"]";
    expect(capabilities::restricted, silent("windows"), Some((REASON, detail)));
    expect(capabilities::restricted_1_25, silent("windows"), None);
    expect(capabilities::restricted_1_25, silent("linux"), Some((REASON, detail)));
}

#[test]
fn non_root() {
    const REASON: &str = "runAsNonRoot != true";
    let pod = |own: Value, values: &[Value]| json!({ "securityContext": { "runAsNonRoot": own }, "containers": containers("runAsNonRoot", values) });
    let (no, yes, none) = (json!(false), json!(true), json!(null));
    let cases = [
        (none.clone(), vec![none.clone()], "pod or container \"a\" must set securityContext.runAsNonRoot=true"),
        (no.clone(), vec![none.clone()], "pod must not set securityContext.runAsNonRoot=false"),
        (
            yes.clone(),
            vec![none.clone(), none.clone(), no.clone(), no.clone(), yes.clone()],
            "containers \"c\", \"d\" must not set securityContext.runAsNonRoot=false",
        ),
        (no.clone(), vec![no, none.clone()], "pod and container \"a\" must not set securityContext.runAsNonRoot=false"),
        (
            none.clone(),
            vec![none.clone(), none.clone(), yes.clone(), yes.clone()],
            "pod or containers \"a\", \"b\" must set securityContext.runAsNonRoot=true",
        ),
    ];
    for (own, values, detail) in cases {
        let mut spec = pod(own, &values);
        for (users, expected) in
            [(json!(null), Some((REASON, detail))), (json!(true), Some((REASON, detail))), (json!(false), None)]
        {
            spec["hostUsers"] = users;
            expect(users::non_root, spec.clone(), Some((REASON, detail)));
            expect(users::non_root_1_35, spec.clone(), expected);
        }
    }
    expect(users::non_root, pod(yes.clone(), std::slice::from_ref(&none)), None);
    expect(users::non_root, pod(none, &[yes]), None);
}

#[test]
fn root_user() {
    let pod = |own: Value, values: &[Value]| json!({ "securityContext": { "runAsUser": own }, "containers": containers("runAsUser", values) });
    let (root, other, none) = (json!(0), json!(1), json!(null));
    let cases = [
        (root.clone(), vec![none.clone()], "pod must not set runAsUser=0"),
        (
            other.clone(),
            vec![none.clone(), other.clone(), root.clone(), root.clone()],
            "containers \"c\", \"d\" must not set runAsUser=0",
        ),
        (root.clone(), vec![root.clone()], "pod and container \"a\" must not set runAsUser=0"),
    ];
    for (own, values, detail) in cases {
        let mut spec = pod(own, &values);
        expect(users::root_user_1_35, spec.clone(), Some(("runAsUser=0", detail)));
        spec["hostUsers"] = false.into();
        expect(users::root_user, spec.clone(), Some(("runAsUser=0", detail)));
        expect(users::root_user_1_35, spec, None);
    }
    expect(users::root_user, pod(json!(1000), &[none, other]), None);
}

#[test]
fn restricted_volumes() {
    const REASON: &str = "restricted volume types";
    let allowed =
        ["emptyDir", "secret", "persistentVolumeClaim", "downwardAPI", "configMap", "projected", "csi", "ephemeral", "image"];
    let others = [
        "hostPath",
        "gcePersistentDisk",
        "awsElasticBlockStore",
        "gitRepo",
        "nfs",
        "iscsi",
        "glusterfs",
        "rbd",
        "flexVolume",
        "cinder",
        "cephfs",
        "flocker",
        "fc",
        "azureFile",
        "vsphereVolume",
        "quobyte",
        "azureDisk",
        "photonPersistentDisk",
        "portworxVolume",
        "scaleIO",
        "storageos",
    ];
    let volumes = |sources: &[&str], prefix: &str| -> Vec<Value> {
        sources
            .iter()
            .enumerate()
            .map(|(index, source)| json!({ "name": format!("{prefix}{}", index + 1), *source: {} }))
            .collect()
    };
    let mut all = [volumes(&allowed, "a"), volumes(&others, "b")].concat();
    all.push(json!({ "name": "c1" }));
    let detail = "volumes \"b1\", \"b2\", \"b3\", \"b4\", \"b5\", \"b6\", \"b7\", \"b8\", \"b9\", \"b10\", \"b11\", \"b12\", \"b13\", \"b14\", \
         \"b15\", \"b16\", \"b17\", \"b18\", \"b19\", \"b20\", \"b21\", \"c1\" use restricted volume types \"awsElasticBlockStore\", \
         \"azureDisk\", \"azureFile\", \"cephfs\", \"cinder\", \"fc\", \"flexVolume\", \"flocker\", \"gcePersistentDisk\", \"gitRepo\", \
         \"glusterfs\", \"hostPath\", \"iscsi\", \"nfs\", \"photonPersistentDisk\", \"portworxVolume\", \"quobyte\", \"rbd\", \"scaleIO\", \
         \"storageos\", \"unknown\", \"vsphereVolume\"";
    expect(volumes::restricted, json!({ "volumes": all }), Some((REASON, detail)));
    let one = json!({ "volumes": [{ "name": "v", "nfs": {} }] });
    expect(volumes::restricted, one, Some((REASON, "volume \"v\" uses restricted volume type \"nfs\"")));
}
