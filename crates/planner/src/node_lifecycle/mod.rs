//! The life of nodes as seen from afar: silence, the taints that follow from conditions, and the pods that must leave.

mod eviction;
mod health;
mod taints;
#[cfg(test)]
mod tests;

pub use self::{
    eviction::{Stay, not_ready_condition, stay},
    health::{Grace, Health, health},
    taints::taints,
};

/// Set by the kubelet, and by whoever misses it.
pub const READY: &str = "Ready";
/// Taint of a node that says it is not ready.
pub const TAINT_NOT_READY: &str = "node.kubernetes.io/not-ready";
/// Taint of a node that says nothing.
pub const TAINT_UNREACHABLE: &str = "node.kubernetes.io/unreachable";
