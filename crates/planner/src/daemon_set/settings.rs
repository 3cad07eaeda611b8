//! What the spec of a DaemonSet asks for, with upstream's defaults.

use k8s_openapi::{
    api::{apps::v1::DaemonSet, core::v1::PodTemplateSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use crate::percent::{Rounding, scaled};

#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) on_delete: bool,
    /// Nodes that may be without an available pod; 0 only with a surge.
    pub(super) max_unavailable: usize,
    /// Nodes that may have a second pod.
    pub(super) max_surge: usize,
    pub(super) min_ready_seconds: i32,
    pub(super) history_limit: i32,
}

pub(super) fn template(set: &DaemonSet) -> PodTemplateSpec {
    set.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default()
}

impl Settings {
    /// `wanted` is the number of nodes that should have a pod: what percentages are of.
    pub(super) fn of(set: &DaemonSet, wanted: i32) -> Self {
        let spec = set.spec.clone().unwrap_or_default();
        let strategy = spec.update_strategy.unwrap_or_default();
        let rolling = strategy.rolling_update.unwrap_or_default();
        let count = |value: Option<IntOrString>, default: i32| {
            let value = value.unwrap_or(IntOrString::Int(default));
            usize::try_from(scaled(&value, wanted, Rounding::Up)).unwrap_or(0)
        };
        let max_surge = count(rolling.max_surge, 0);
        let max_unavailable = count(rolling.max_unavailable, 1);
        Self {
            on_delete: strategy.type_.as_deref() == Some("OnDelete"),
            // Nothing could move otherwise.
            max_unavailable: if max_surge == 0 { max_unavailable.max(1) } else { max_unavailable },
            max_surge,
            min_ready_seconds: spec.min_ready_seconds.unwrap_or(0),
            history_limit: spec.revision_history_limit.unwrap_or(10),
        }
    }
}
