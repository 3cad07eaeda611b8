//! What no kubelet of this kind runs, whatever else its node has: seen from the pod alone.

use k8s_openapi::api::core::v1::{Pod, PodSpec};

use crate::schedule::Refusal;

/// The kernel parameters that a pod may set: each belongs to a namespace of the pod, and changes nothing for others.
/// Upstream's list, all of which every kernel since 4.15 keeps by namespace.
const SAFE_SYSCTLS: [(&str, Namespace); 12] = [
    ("kernel.shm_rmid_forced", Namespace::Ipc),
    ("net.ipv4.ip_local_port_range", Namespace::Net),
    ("net.ipv4.tcp_syncookies", Namespace::Net),
    ("net.ipv4.ping_group_range", Namespace::Net),
    ("net.ipv4.ip_unprivileged_port_start", Namespace::Net),
    ("net.ipv4.ip_local_reserved_ports", Namespace::Net),
    ("net.ipv4.tcp_keepalive_time", Namespace::Net),
    ("net.ipv4.tcp_fin_timeout", Namespace::Net),
    ("net.ipv4.tcp_keepalive_intvl", Namespace::Net),
    ("net.ipv4.tcp_keepalive_probes", Namespace::Net),
    ("net.ipv4.tcp_rmem", Namespace::Net),
    ("net.ipv4.tcp_wmem", Namespace::Net),
];

/// The names under which RuntimeClasses can ask for the one runtime there is: none; `runc`, which is what containerd calls a runtime of
/// plain namespaces, as this is one; and `test-handler`, which upstream's tests ask for, and kind gives them under that name.
pub const RUNTIME_HANDLERS: [&str; 3] = ["", "runc", "test-handler"];

/// Pods say so of themselves, nodes of theirs.
const OS_LABEL: &str = "kubernetes.io/os";
const OS: &str = "linux";

/// A namespace that a kernel parameter belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Namespace {
    Ipc,
    Net,
}

/// Why the pod is not run, in upstream's words: a kernel parameter that others would feel, or an operating system that this is not.
pub fn refusal(pod: &Pod) -> Option<Refusal> {
    let spec = pod.spec.as_ref()?;
    if let Some(why) = sysctl(spec) {
        return Some(refused("SysctlForbidden", format!("forbidden sysctl: {why}")));
    }
    let label = pod.metadata.labels.as_ref().and_then(|labels| labels.get(OS_LABEL));
    if label.is_some_and(|os| os != OS) {
        let why = "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label";
        return Some(refused("PodOSSelectorNodeLabelDoesNotMatch", why.to_owned()));
    }
    let is_other_os = spec.os.as_ref().is_some_and(|os| os.name != OS);
    is_other_os.then(|| refused("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS".to_owned()))
}

/// Why no namespaces can be made for a pod whose class asks for the runtime of this name, in upstream's words (and containerd's) for
/// a runtime that cannot do what it asks for.
pub fn sandbox_refusal(spec: &PodSpec, handler: &str) -> Option<String> {
    // Who asks to be no root of the machine's must not be run as one.
    if spec.host_users == Some(false) {
        return Some("can't set `spec.hostUsers: false`, runtime does not support user namespaces".to_owned());
    }
    runtime_refusal(handler)
}

/// Why there is no runtime of this name. Who asks for a wall that is not there must not be run without it.
pub fn runtime_refusal(handler: &str) -> Option<String> {
    let is_served = RUNTIME_HANDLERS.contains(&handler);
    (!is_served).then(|| format!("failed to get sandbox runtime: no runtime for {handler:?} is configured"))
}

fn refused(reason: &str, message: String) -> Refusal {
    Refusal { reason: reason.to_owned(), message }
}

fn sysctl(spec: &PodSpec) -> Option<String> {
    let sysctls = spec.security_context.as_ref()?.sysctls.as_deref()?;
    sysctls.iter().find_map(|sysctl| {
        let name = dotted(&sysctl.name);
        let host = |kind: &str| format!("{name:?} not allowed with host {kind} enabled");
        match SAFE_SYSCTLS.iter().find(|(safe, _)| *safe == name) {
            None => Some(format!("{name:?} not allowlisted")),
            Some((_, Namespace::Ipc)) if spec.host_ipc == Some(true) => Some(host("ipc")),
            Some((_, Namespace::Net)) if spec.host_network == Some(true) => Some(host("net")),
            Some(_) => None,
        }
    })
}

/// The name with dots between its parts. In one with slashes dots belong to the parts, and change places with them:
/// `net/ipv4/conf/eth0.1/x`.
fn dotted(name: &str) -> String {
    if !name.find(['.', '/']).is_some_and(|first| name[first..].starts_with('/')) {
        return name.to_owned();
    }
    let swap = |character| match character {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    name.chars().map(swap).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn why(labels: Value, spec: Value) -> Option<(String, String)> {
        let mut spec = spec;
        spec["containers"] = json!([]);
        let pod = json!({ "metadata": { "name": "p", "labels": labels }, "spec": spec });
        refusal(&serde_json::from_value(pod).unwrap()).map(|refusal| (refusal.reason, refusal.message))
    }

    fn of_sysctl(name: &str, spec: Value) -> Option<String> {
        let mut spec = spec;
        spec["securityContext"] =
            json!({ "sysctls": [{ "name": "kernel.shm_rmid_forced", "value": "1" }, { "name": name, "value": "1" }] });
        why(json!({}), spec).map(|(reason, message)| {
            assert_eq!(reason, "SysctlForbidden");
            message
        })
    }

    #[test]
    fn only_what_no_other_pod_feels_is_set() {
        let forbidden = |text: &str| Some(format!("forbidden sysctl: {text}"));
        assert_eq!(of_sysctl("net.ipv4.tcp_syncookies", json!({})), None);
        assert_eq!(of_sysctl("net/ipv4/tcp_rmem", json!({})), None);
        assert_eq!(of_sysctl("kernel.msgmax", json!({})), forbidden("\"kernel.msgmax\" not allowlisted"));
        assert_eq!(of_sysctl("vm/swappiness", json!({})), forbidden("\"vm.swappiness\" not allowlisted"));
        assert_eq!(of_sysctl("net/ipv4/conf/eth0.1/x", json!({})), forbidden("\"net.ipv4.conf.eth0/1.x\" not allowlisted"));
        assert_eq!(
            of_sysctl("net.ipv4.tcp_syncookies", json!({ "hostNetwork": true })),
            forbidden("\"net.ipv4.tcp_syncookies\" not allowed with host net enabled")
        );
        assert_eq!(
            of_sysctl("x.y", json!({ "hostIPC": true })),
            forbidden("\"kernel.shm_rmid_forced\" not allowed with host ipc enabled")
        );
    }

    #[test]
    fn who_asks_for_a_user_namespace_gets_no_sandbox() {
        let asking = |host_users: Option<bool>| sandbox_refusal(&PodSpec { host_users, ..PodSpec::default() }, "").is_some();
        assert_eq!([None, Some(true), Some(false)].map(asking), [false, false, true]);
    }

    #[test]
    fn who_asks_for_another_runtime_gets_no_sandbox() {
        let asking = |handler: &str| sandbox_refusal(&PodSpec::default(), handler);
        assert_eq!(["", "runc", "test-handler"].map(asking), [None, None, None]);
        assert_eq!(asking("kata").unwrap(), "failed to get sandbox runtime: no runtime for \"kata\" is configured");
    }

    #[test]
    fn only_pods_for_linux_run() {
        let because = |reason: &str, message: &str| Some((reason.to_owned(), message.to_owned()));
        assert_eq!(why(json!({ "kubernetes.io/os": "linux" }), json!({ "os": { "name": "linux" } })), None);
        assert_eq!(
            why(json!({}), json!({ "os": { "name": "windows" } })),
            because("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS")
        );
        assert_eq!(
            why(json!({ "kubernetes.io/os": "dummyOS" }), json!({})),
            because(
                "PodOSSelectorNodeLabelDoesNotMatch",
                "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label"
            )
        );
    }
}
