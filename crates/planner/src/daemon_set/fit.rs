//! Whether a DaemonSet wants a pod on a node.

use k8s_openapi::api::{
    apps::v1::DaemonSet,
    core::v1::{Node, PodSpec, Toleration},
};

use super::settings;
use crate::{
    node::{self, Effect},
    owner,
};

/// What a node is to a DaemonSet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fit {
    /// A pod belongs there.
    pub(super) should_run: bool,
    /// A pod that is there may stay.
    pub(super) should_continue: bool,
}

/// Tolerations that every pod of a DaemonSet gets: a daemon runs where ordinary pods are kept away from.
const TAINTS: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];

/// The tolerations of a pod of this spec, those that every DaemonSet adds included.
pub(super) fn tolerations(spec: &PodSpec) -> Vec<Toleration> {
    let mut tolerations = spec.tolerations.clone().unwrap_or_default();
    let network = spec.host_network == Some(true);
    let more = network.then_some(("node.kubernetes.io/network-unavailable", "NoSchedule"));
    for (key, effect) in TAINTS.into_iter().chain(more) {
        let toleration = Toleration {
            key: Some(key.to_owned()),
            operator: Some("Exists".to_owned()),
            effect: Some(effect.to_owned()),
            ..Toleration::default()
        };
        if !tolerations.contains(&toleration) {
            tolerations.push(toleration);
        }
    }
    tolerations
}

pub(super) fn of(set: &DaemonSet, node: &Node) -> Fit {
    let spec = settings::template(set).spec.unwrap_or_default();
    let named = spec.node_name.as_deref().is_none_or(|name| name.is_empty() || name == owner::name(&node.metadata));
    if !named || !node::matches_required(&spec, node) {
        return Fit { should_run: false, should_continue: false };
    }
    let tolerations = tolerations(&spec);
    let kept_away = node::untolerated(node, &tolerations, &[Effect::NoSchedule, Effect::NoExecute]).is_some();
    let driven_out = node::untolerated(node, &tolerations, &[Effect::NoExecute]).is_some();
    Fit { should_run: !kept_away, should_continue: !driven_out }
}
