//! Reasons and details of what a baseline asks, retyped from upstream's `check_*_test.go`.

use serde_json::json;

use super::{contexts, expect, expect_of};
use crate::pod_security::{capabilities, host, profiles, sysctls, volumes};

#[test]
fn capabilities() {
    let added = |add: &[&str]| json!({ "capabilities": { "add": add } });
    let detail = "containers \"a\", \"b\" must not include \"BAR\", \"BAZ\", \"FOO\" in securityContext.capabilities.add";
    let all = contexts(&[added(&["FOO", "BAR"]), added(&["BAR", "BAZ"]), added(&["CHOWN"]), json!(null), json!({})]);
    expect(capabilities::baseline, json!({ "containers": all }), Some(("non-default capabilities", detail)));
    let raw = json!({ "initContainers": [{ "name": "i", "securityContext": added(&["NET_RAW"]) }] });
    let detail = "container \"i\" must not include \"NET_RAW\" in securityContext.capabilities.add";
    expect(capabilities::baseline, raw, Some(("non-default capabilities", detail)));
    let own_users = json!({ "hostUsers": false, "containers": contexts(&[added(&["SYS_ADMIN"])]) });
    let detail = "container \"a\" must not include \"SYS_ADMIN\" in securityContext.capabilities.add";
    expect(capabilities::baseline, own_users, Some(("non-default capabilities", detail)));
}

#[test]
fn namespaces() {
    let all = json!({ "hostNetwork": true, "hostPID": true, "hostIPC": true });
    expect(host::namespaces, all, Some(("host namespaces", "hostIPC, hostNetwork, hostPID")));
    expect(host::namespaces, json!({ "hostPID": true, "hostIPC": false }), Some(("host namespaces", "hostPID")));
    expect(host::namespaces, json!({ "hostNetwork": false }), None);
}

#[test]
fn host_paths() {
    let volumes = json!({ "volumes": [{ "name": "a", "hostPath": {} }, { "name": "b", "hostPath": {} }, { "name": "c" }] });
    expect(volumes::host_paths, volumes, Some(("hostPath volumes", "volumes \"a\", \"b\"")));
    let one = json!({ "volumes": [{ "name": "a", "hostPath": {} }, { "name": "b", "emptyDir": {} }] });
    expect(volumes::host_paths, one, Some(("hostPath volumes", "volume \"a\"")));
}

#[test]
fn ports() {
    let container = |name: &str, ports: &[i64]| {
        let ports: Vec<_> = ports.iter().map(|port| json!({ "hostPort": port })).collect();
        json!({ "name": name, "ports": ports })
    };
    let one = json!({ "containers": [container("a", &[]), container("b", &[8080, 0])] });
    expect(host::ports, one, Some(("hostPort", "container \"b\" uses hostPort 8080")));
    let two = json!({ "containers": [container("a", &[8081, 8080]), container("b", &[0])] });
    expect(host::ports, two, Some(("hostPort", "container \"a\" uses hostPorts 8080, 8081")));
    let many =
        json!({ "containers": [container("a", &[10, 9]), container("b", &[8])], "initContainers": [container("i", &[9])] });
    expect(host::ports, many, Some(("hostPort", "containers \"i\", \"a\", \"b\" use hostPorts 10, 8, 9")));
}

#[test]
fn privileged() {
    let all = contexts(&[
        json!(null),
        json!({}),
        json!({ "privileged": false }),
        json!({ "privileged": true }),
        json!({ "privileged": true }),
    ]);
    let detail = "containers \"d\", \"e\" must not set securityContext.privileged=true";
    expect(host::privileged, json!({ "containers": all }), Some(("privileged", detail)));
    let debugger = json!({ "ephemeralContainers": [{ "name": "debugger", "securityContext": { "privileged": true } }] });
    let detail = "container \"debugger\" must not set securityContext.privileged=true";
    expect(host::privileged, debugger, Some(("privileged", detail)));
}

#[test]
fn windows_processes() {
    let windows = |options: serde_json::Value| json!({ "windowsOptions": options });
    let all = contexts(&[
        json!(null),
        json!({}),
        windows(json!({})),
        windows(json!({ "hostProcess": false })),
        windows(json!({ "hostProcess": true })),
        windows(json!({ "hostProcess": true })),
    ]);
    let detail = "pod and containers \"e\", \"f\" must not set securityContext.windowsOptions.hostProcess=true";
    let pod = json!({ "securityContext": windows(json!({ "hostProcess": true })), "containers": all });
    expect(host::windows_processes, pod, Some(("hostProcess", detail)));
}

#[test]
fn probes() {
    const REASON: &str = "probe or lifecycle host";
    let http = |host: &str| json!({ "httpGet": { "host": host } });
    let tcp = |host: &str| json!({ "tcpSocket": { "host": host } });
    let own = json!({
        "name": "a", "livenessProbe": { "httpGet": {} }, "readinessProbe": { "tcpSocket": {} },
        "lifecycle": { "postStart": { "httpGet": { "host": "" } } },
    });
    expect(host::probes, json!({ "containers": [own] }), None);
    let local = json!({ "name": "a", "livenessProbe": http("127.0.0.1"), "readinessProbe": tcp("::1"), "startupProbe": http("localhost") });
    let detail = "container \"a\" uses probe or lifecycle hosts \"127.0.0.1\", \"::1\", \"localhost\"";
    expect(host::probes, json!({ "containers": [local] }), Some((REASON, detail)));
    let hook = json!({ "name": "d", "lifecycle": { "postStart": tcp("invalid.host") } });
    let detail = "container \"d\" uses probe or lifecycle host \"invalid.host\"";
    expect(host::probes, json!({ "containers": [hook] }), Some((REASON, detail)));
    let several = json!([
        { "name": "valid" },
        { "name": "invalid2", "livenessProbe": http("a.com") },
        { "name": "invalid1", "lifecycle": { "preStop": tcp("b.com") }, "startupProbe": http("a.com") },
    ]);
    let detail = "containers \"invalid1\", \"invalid2\" use probe or lifecycle hosts \"a.com\", \"b.com\"";
    expect(host::probes, json!({ "containers": several }), Some((REASON, detail)));
    let init = json!({ "initContainers": [{ "name": "init", "livenessProbe": http("invalid.init.host") }] });
    let detail = "container \"init\" uses probe or lifecycle host \"invalid.init.host\"";
    expect(host::probes, init, Some((REASON, detail)));
}

#[test]
fn sysctls() {
    let pod =
        json!({ "securityContext": { "sysctls": [{ "name": "a" }, { "name": "kernel.shm_rmid_forced" }, { "name": "b" }] } });
    expect(sysctls::since_1_0, pod, Some(("forbidden sysctls", "a, b")));
    let newer =
        json!({ "securityContext": { "sysctls": [{ "name": "net.ipv4.tcp_rmem" }, { "name": "net.ipv4.tcp_fin_timeout" }] } });
    let both = "net.ipv4.tcp_rmem, net.ipv4.tcp_fin_timeout";
    expect(sysctls::since_1_27, newer.clone(), Some(("forbidden sysctls", both)));
    expect(sysctls::since_1_29, newer.clone(), Some(("forbidden sysctls", "net.ipv4.tcp_rmem")));
    expect(sysctls::since_1_32, newer, None);
}

#[test]
fn app_armor() {
    let context = |kind: &str| json!({ "appArmorProfile": { "type": kind } });
    let one = "forbidden AppArmor profile";
    expect(
        profiles::app_armor,
        json!({ "securityContext": context("Unconfined") }),
        Some((one, "pod must not set AppArmor profile type to \"Unconfined\"")),
    );
    let container = json!({
        "securityContext": context("RuntimeDefault"), "containers": [{ "name": "foo" }],
        "initContainers": [{ "name": "bar", "securityContext": context("Unconfined") }],
    });
    let detail = "container \"bar\" must not set AppArmor profile type to \"Unconfined\"";
    expect(profiles::app_armor, container, Some((one, detail)));
    let annotation = |name: &str, value: &str| (format!("container.apparmor.security.beta.kubernetes.io/{name}"), json!(value));
    let annotations: serde_json::Map<_, _> = [
        annotation("", "bogus"),
        annotation("a", ""),
        annotation("b", "runtime/default"),
        annotation("c", "localhost/"),
        annotation("d", "localhost/foo"),
        annotation("e", "unconfined"),
        annotation("f", "unknown"),
    ]
    .into_iter()
    .collect();
    let pod = json!({ "metadata": { "annotations": annotations }, "spec": {} });
    let detail = "annotations must not set AppArmor profile type to \
         \"container.apparmor.security.beta.kubernetes.io/=\"bogus\"\", \
         \"container.apparmor.security.beta.kubernetes.io/e=\"unconfined\"\", \
         \"container.apparmor.security.beta.kubernetes.io/f=\"unknown\"\"";
    expect_of(profiles::app_armor, &pod, Some(("forbidden AppArmor profiles", detail)));
}
