//! The fields of a Deployment's spec, with upstream's defaults where one is absent.

use k8s_openapi::api::{
    apps::v1::{Deployment, DeploymentSpec},
    core::v1::PodTemplateSpec,
};
use windlass_api::selector::Selector;

use crate::percent::Bounds;

/// Upstream's default of `spec.replicas`.
const DEFAULT_REPLICAS: i32 = 1;
/// A limit of this size means "none"; upstream's way to switch deadline and history off.
const NONE: i32 = i32::MAX;

fn spec(deployment: &Deployment) -> Option<&DeploymentSpec> {
    deployment.spec.as_ref()
}

/// Pods wanted; 1 if not said.
pub fn replicas(deployment: &Deployment) -> i32 {
    spec(deployment).and_then(|spec| spec.replicas).unwrap_or(DEFAULT_REPLICAS)
}

/// How far a rollout may go beyond and below [`replicas`]; nothing of either under Recreate.
pub fn bounds(deployment: &Deployment) -> Bounds {
    if !is_rolling_update(deployment) {
        return Bounds { max_surge: 0, max_unavailable: 0 };
    }
    let rolling = spec(deployment).and_then(|spec| spec.strategy.as_ref()?.rolling_update.as_ref());
    let max_surge = rolling.and_then(|rolling| rolling.max_surge.as_ref());
    let max_unavailable = rolling.and_then(|rolling| rolling.max_unavailable.as_ref());
    Bounds::resolve(max_surge, max_unavailable, replicas(deployment))
}

pub(super) fn is_rolling_update(deployment: &Deployment) -> bool {
    let strategy = spec(deployment).and_then(|spec| spec.strategy.as_ref()?.type_.as_deref());
    strategy != Some("Recreate")
}

/// Compiled; one that validation should have stopped matches nothing.
pub(super) fn selector(deployment: &Deployment) -> Selector {
    Selector::from_typed(spec(deployment).map(|spec| &spec.selector)).unwrap_or_else(|_| Selector::nothing())
}

pub(super) fn template(deployment: &Deployment) -> Option<&PodTemplateSpec> {
    spec(deployment).map(|spec| &spec.template)
}

pub(super) fn paused(deployment: &Deployment) -> bool {
    spec(deployment).and_then(|spec| spec.paused).unwrap_or(false)
}

pub(super) fn min_ready_seconds(deployment: &Deployment) -> i32 {
    spec(deployment).and_then(|spec| spec.min_ready_seconds).unwrap_or(0)
}

/// Seconds without progress after which a rollout has failed; `None` if it may take for ever.
pub(super) fn progress_deadline_seconds(deployment: &Deployment) -> Option<i32> {
    spec(deployment).and_then(|spec| spec.progress_deadline_seconds).filter(|seconds| *seconds != NONE)
}

/// Old ReplicaSets to keep; `None` if all.
pub(super) fn revision_history_limit(deployment: &Deployment) -> Option<usize> {
    let limit = spec(deployment).and_then(|spec| spec.revision_history_limit).filter(|limit| *limit != NONE)?;
    usize::try_from(limit).ok()
}
