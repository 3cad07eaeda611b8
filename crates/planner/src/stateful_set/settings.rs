//! What the spec of a StatefulSet asks for, with upstream's defaults.

use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::PodTemplateSpec};

use crate::percent::{Rounding, scaled};

/// How pods come to a new template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strategy {
    /// When somebody deletes them.
    OnDelete,
    /// From the highest ordinal down to `partition`.
    RollingUpdate {
        partition: i32,
        /// At least 1, or nothing could move.
        max_unavailable: usize,
    },
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) replicas: i32,
    /// The first ordinal.
    pub(super) start: i32,
    /// One after the other, each available before the next (`OrderedReady`).
    pub(super) ordered: bool,
    pub(super) min_ready_seconds: i32,
    pub(super) history_limit: i32,
    pub(super) strategy: Strategy,
    /// Claims go with the set, rather than staying.
    pub(super) delete_claims_with_set: bool,
    /// Claims go with a pod that is scaled away, rather than staying.
    pub(super) delete_claims_with_scale: bool,
}

pub(super) fn template(set: &StatefulSet) -> PodTemplateSpec {
    set.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default()
}

impl Settings {
    pub(super) fn of(set: &StatefulSet) -> Self {
        let spec = set.spec.clone().unwrap_or_default();
        let replicas = spec.replicas.unwrap_or(1);
        let update = spec.update_strategy.unwrap_or_default();
        let strategy = if update.type_.as_deref() == Some("OnDelete") {
            Strategy::OnDelete
        } else {
            let rolling = update.rolling_update.unwrap_or_default();
            let max_unavailable = rolling.max_unavailable.map_or(1, |value| scaled(&value, replicas, Rounding::Up));
            let max_unavailable = usize::try_from(max_unavailable).unwrap_or(0).max(1);
            Strategy::RollingUpdate { partition: rolling.partition.unwrap_or(0), max_unavailable }
        };
        let retention = spec.persistent_volume_claim_retention_policy.unwrap_or_default();
        Self {
            replicas,
            start: spec.ordinals.and_then(|ordinals| ordinals.start).unwrap_or(0),
            ordered: spec.pod_management_policy.as_deref() != Some("Parallel"),
            min_ready_seconds: spec.min_ready_seconds.unwrap_or(0),
            history_limit: spec.revision_history_limit.unwrap_or(10),
            strategy,
            delete_claims_with_set: retention.when_deleted.as_deref() == Some("Delete"),
            delete_claims_with_scale: retention.when_scaled.as_deref() == Some("Delete"),
        }
    }
}
