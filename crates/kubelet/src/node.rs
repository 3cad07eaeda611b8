//! The Node object of this machine: registration, status and lease.

use jiff::Timestamp;
use serde_json::{Value, json};

/// `nodeInfo.kubeletVersion`: the Kubernetes release whose behaviour this is, and whose build.
pub const KUBELET_VERSION: &str = "v1.36.2+windlass";

/// The machine's architecture as Go (and so every node label) names it.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "riscv64" => "riscv64",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

/// The four conditions of a node that lacks nothing.
pub(crate) fn healthy_conditions(now: Timestamp) -> Vec<Value> {
    [
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ]
    .into_iter()
    .map(|(kind, status, reason, message)| {
        json!({
            "type": kind, "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": now, "lastTransitionTime": now,
        })
    })
    .collect()
}
