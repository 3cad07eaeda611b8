//! Stopping one container: hook, signal, grace, kill.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use tokio::sync::watch;
use windlass_api::names::CONDITION_UNROUTED;
use windlass_planner::pod::{KillReason, conditions, stop};

use super::operation::{Done, Scope};
use crate::{
    events::Type,
    images::with_sources,
    pod::field_path,
    probes::{Kind, run_hook},
};

/// How long a container that is to be restarted is kept after its pod was reported unready, so that no route leads to it any more.
/// Routes follow readiness within milliseconds; and a container that failed its probe serves nobody well.
const UNROUTE_LIMIT: Duration = Duration::from_millis(500);

/// Pause after a container that could not be stopped.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// A container to kill while its pod stays.
pub(crate) struct Order {
    pub(crate) container: Container,
    pub(crate) id: String,
    pub(crate) reason: KillReason,
    /// The probe that failed, which may name a grace period of its own.
    pub(crate) probe: Option<Kind>,
    /// The pod as it changes, to see the route go; `None` when none led to it.
    pub(crate) routed: Option<watch::Receiver<std::sync::Arc<Pod>>>,
    pub(crate) address: Option<std::net::IpAddr>,
}

/// Kills the container that `order` names.
pub(crate) async fn kill(scope: Scope, order: Order) -> Done {
    let name = &order.container.name;
    let message = match &order.reason {
        KillReason::Condemned(why) if why == "FailedPostStartHook" => why.clone(),
        KillReason::Condemned(why) => format!("Container {name} {why}, will be restarted"),
        KillReason::Changed => format!("Container {name} definition changed, will be restarted"),
        KillReason::Done => format!("Stopping container {name}"),
    };
    scope.kubelet.events.pod(&scope.pod, Some(field_path(&scope.pod, name)), Type::Normal, "Killing", message);
    if let Some(mut routed) = order.routed {
        let gone = routed.wait_for(|pod| conditions::is_true(pod.status.as_ref(), CONDITION_UNROUTED));
        let _ = tokio::time::timeout(UNROUTE_LIMIT, gone).await;
    }
    let grace = Duration::from_secs(u64::try_from(grace_seconds(&scope.pod, &order.container, order.probe)).unwrap_or(0));
    let began = Timestamp::now();
    pre_stop(&scope, &order.container, &order.id, order.address, grace).await;
    let spent = Duration::try_from(Timestamp::now().duration_since(began)).unwrap_or_default();
    stop(&scope, &order.id, grace.saturating_sub(spent).max(Duration::from_secs(2))).await;
    Done::Killed { container: order.container.name, id: order.id }
}

fn grace_seconds(pod: &Pod, container: &Container, probe: Option<Kind>) -> i64 {
    let probe = match probe {
        Some(Kind::Liveness) => container.liveness_probe.as_ref(),
        Some(Kind::Startup) => container.startup_probe.as_ref(),
        _ => None,
    };
    probe.and_then(|probe| probe.termination_grace_period_seconds).unwrap_or_else(|| stop::grace_seconds(pod))
}

/// Runs the preStop hook of a container, for `limit` at most.
pub(crate) async fn pre_stop(scope: &Scope, container: &Container, id: &str, address: Option<std::net::IpAddr>, limit: Duration) {
    let Some(hook) = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref()) else { return };
    let target = scope.target(address);
    let done = tokio::time::timeout(limit, run_hook(&target, container, id, hook, limit)).await;
    if let Ok(Err(why)) = done {
        let path = Some(field_path(&scope.pod, &container.name));
        scope.kubelet.events.pod(&scope.pod, path, Type::Warning, "FailedPreStopHook", format!("PreStopHook failed: {why}"));
    }
}

/// Stops a container; a failure is logged, as the next plan finds it still running.
pub(crate) async fn stop(scope: &Scope, id: &str, grace: Duration) {
    if let Err(error) = scope.kubelet.runtime.stop_container(id, grace).await {
        tracing::warn!(error = with_sources(&error), id, "stopping a container");
        // The next plan asks for the same again; a runtime that fails at once must not be asked without pause.
        tokio::time::sleep(AFTER_FAILURE).await;
    }
}
