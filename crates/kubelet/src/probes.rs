//! Probes of running containers: one task each, results to the pod's worker.

mod handler;
mod http_get;

use std::{net::IpAddr, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{Container, Probe};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
pub(crate) use windlass_planner::pod::probe::Kind;
use windlass_planner::pod::probe::{self, Machine};

pub(crate) use self::{
    handler::{Outcome, Target, run_hook},
    http_get::connect_error,
};

/// A probe's state changed, or a failure is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) container: String,
    /// The run it is about: a report may outlive it.
    pub(crate) container_id: String,
    pub(crate) kind: Kind,
    /// The new state.
    pub(crate) changed: Option<bool>,
    /// What is worth an event: its reason and message.
    pub(crate) told: Option<(&'static str, String)>,
}

/// What the probes of one run of a container need.
pub(crate) struct Probed {
    pub(crate) container: Container,
    pub(crate) container_id: String,
    pub(crate) target: Target,
    pub(crate) reports: mpsc::Sender<Report>,
}

/// Which probes the container has.
pub(crate) fn of(container: &Container) -> Vec<(Kind, &Probe)> {
    [
        (Kind::Startup, container.startup_probe.as_ref()),
        (Kind::Readiness, container.readiness_probe.as_ref()),
        (Kind::Liveness, container.liveness_probe.as_ref()),
    ]
    .into_iter()
    .filter_map(|(kind, probe)| Some((kind, probe?)))
    .collect()
}

/// Probes until `stop`: the startup probe until it succeeds, then the others. `age` is how long the container runs already.
///
/// Once its pod is `leaving` a container is no longer restarted, and only whether it serves is of interest.
pub(crate) async fn run(
    probed: Arc<Probed>,
    age: Duration,
    is_started: bool,
    leaving: CancellationToken,
    stop: CancellationToken,
) {
    let all = async {
        if let Some(probe) = probed.container.startup_probe.as_ref().filter(|_| !is_started) {
            let followed = leaving.run_until_cancelled(follow(&probed, Kind::Startup, probe, age)).await;
            if followed.is_none() {
                return;
            }
        }
        let readiness = async {
            if let Some(probe) = &probed.container.readiness_probe {
                follow(&probed, Kind::Readiness, probe, age).await;
            }
        };
        let liveness = async {
            if let Some(probe) = &probed.container.liveness_probe {
                leaving.run_until_cancelled(follow(&probed, Kind::Liveness, probe, age)).await;
            }
        };
        tokio::join!(readiness, liveness);
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = all => {}
    }
}

/// Follows one probe; a startup probe ends with its first success, and one that failed for good waits to be stopped.
async fn follow(probed: &Probed, kind: Kind, probe: &Probe, age: Duration) {
    sleep(probe::initial_delay(probe).saturating_sub(age)).await;
    let mut machine = Machine::new(kind, probe);
    let first = Instant::now();
    loop {
        let began = Instant::now();
        let outcome = handler::probe(&probed.target, &probed.container, &probed.container_id, probe).await;
        let success = matches!(outcome, Outcome::Success | Outcome::Warning(_));
        let verdict = machine.observe(success, began - first);
        let told = match outcome {
            Outcome::Warning(what) => Some(("ProbeWarning", format!("{} probe warning: {what}", kind.name()))),
            Outcome::Failure(why) if verdict.is_reported => Some(("Unhealthy", format!("{} probe failed: {why}", kind.name()))),
            Outcome::Unknown(why) if verdict.is_reported => Some(("Unhealthy", format!("{} probe errored: {why}", kind.name()))),
            _ => None,
        };
        if verdict.changed.is_some() || told.is_some() {
            let report = Report {
                container: probed.container.name.clone(),
                container_id: probed.container_id.clone(),
                kind,
                changed: verdict.changed,
                told,
            };
            if probed.reports.send(report).await.is_err() {
                return;
            }
        }
        match (kind, verdict.changed) {
            (Kind::Startup, Some(true)) => return,
            (Kind::Startup | Kind::Liveness, Some(false)) => return std::future::pending().await,
            _ => sleep_until(began + verdict.next_in).await,
        }
    }
}

/// The address that a probe without a host goes to.
pub(crate) fn default_host(pod_ips: &[IpAddr]) -> Option<IpAddr> {
    pod_ips.first().copied()
}
