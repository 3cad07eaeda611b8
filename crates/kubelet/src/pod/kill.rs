//! Stopping one container: hook, signal, grace, kill.

use std::{path::PathBuf, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodStatus};
use tokio::sync::watch;
use windlass_planner::pod::{
    KillReason,
    stop::{self, Deadlines},
};

use super::{
    operation::{Done, Scope},
    unroute::{self, until},
};
use crate::{
    events::Type,
    images::with_sources,
    pod::{field_path, name, namespace},
    probes::{Kind, run_hook},
};

/// What a container has after SIGTERM even when its grace period is used up, as upstream.
const MIN_GRACE: Duration = Duration::from_secs(2);
/// Pause after a container that could not be stopped.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// A container to kill while its pod stays.
pub(crate) struct Order {
    pub(crate) container: Container,
    pub(crate) id: String,
    pub(crate) reason: KillReason,
    /// The probe that failed, which may name a grace period of its own.
    pub(crate) probe: Option<Kind>,
    /// How to see the route go; `None` for a container that has done its work.
    pub(crate) routed: Option<Routed>,
    pub(crate) address: Option<std::net::IpAddr>,
}

/// A pod that may be in routes.
pub(crate) struct Routed {
    /// The pod as it changes.
    pub(crate) pod: watch::Receiver<Arc<Pod>>,
    /// What the API was told of it.
    pub(crate) said: watch::Receiver<Arc<PodStatus>>,
    /// Where its connections are counted.
    pub(crate) netns: Option<PathBuf>,
}

/// Kills the container that `order` names: out of every route, drained, hook, signal.
pub(crate) async fn kill(scope: Scope, order: Order) -> Done {
    let name = &order.container.name;
    let message = match &order.reason {
        KillReason::Condemned(why) if why == "FailedPostStartHook" => why.clone(),
        KillReason::Condemned(why) => format!("Container {name} {why}, will be restarted"),
        KillReason::Changed => format!("Container {name} definition changed, will be restarted"),
        KillReason::Resized => format!("Container {name} resize requires restart"),
        KillReason::Done => format!("Stopping container {name}"),
    };
    scope.kubelet.events.pod(&scope.pod, Some(field_path(&scope.pod, name)), Type::Normal, "Killing", message);
    let grace_seconds = grace_seconds(&scope.pod, &order.container, order.probe);
    let deadlines = Deadlines::within(grace_seconds, &scope.pod, Timestamp::now());
    if let Some(Routed { pod, said, netns }) = order.routed {
        unroute::ask(&scope, said, &deadlines).await;
        unroute::unrouted(pod, &deadlines).await;
        unroute::drained(&scope, netns.as_deref(), &deadlines).await;
    }
    pre_stop(&scope, &order.container, &order.id, order.address, until(deadlines.killed)).await;
    stop(&scope, &order.id, until(deadlines.killed).max(MIN_GRACE)).await;
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
        tracing::warn!(
            namespace = namespace(&scope.pod),
            pod = name(&scope.pod),
            container = container.name,
            why,
            "preStop hook failed"
        );
        // Not why: a hook's output may hold secrets, which events would show to more people.
        scope.kubelet.events.pod(&scope.pod, path, Type::Warning, "FailedPreStopHook", "PreStopHook failed");
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
