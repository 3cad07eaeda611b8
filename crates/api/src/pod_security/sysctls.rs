//! Parameters of the kernel that a pod sets for itself.

use super::{Pod, Violation, pod::name};

/// Those that touch nobody else, in the order in which they became allowed.
const SAFE: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
];

/// The first five.
pub(super) fn since_1_0(pod: Pod<'_>) -> Option<Violation> {
    others(pod, &SAFE[..5])
}

/// Reserved ports, too.
pub(super) fn since_1_27(pod: Pod<'_>) -> Option<Violation> {
    others(pod, &SAFE[..6])
}

/// How long connections are kept, too.
pub(super) fn since_1_29(pod: Pod<'_>) -> Option<Violation> {
    others(pod, &SAFE[..10])
}

/// Buffers of connections, too.
pub(super) fn since_1_32(pod: Pod<'_>) -> Option<Violation> {
    others(pod, &SAFE)
}

fn others(pod: Pod<'_>, allowed: &[&str]) -> Option<Violation> {
    let set = pod.spec["securityContext"]["sysctls"].as_array().into_iter().flatten().map(name);
    let others: Vec<&str> = set.filter(|sysctl| !allowed.contains(sysctl)).collect();
    (!others.is_empty()).then(|| Violation { reason: "forbidden sysctls", detail: others.join(", ") })
}
