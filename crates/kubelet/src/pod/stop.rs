//! The way down, in order: unrouted, drained, hooks, SIGTERM, grace, SIGKILL, and only then the end of the pod.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodStatus};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use windlass_planner::pod::{
    Observed,
    restart::is_sidecar,
    stop::{Deadlines, grace_seconds},
};

use super::{
    kill::{pre_stop, stop},
    operation::Scope,
    unroute::{self, until},
};
use crate::{
    events::Type,
    pod::{containers, field_path},
    runtime::Sandbox,
};

/// What is left to stop.
pub(crate) struct Descent {
    pub(crate) scope: Scope,
    pub(crate) sandbox: Option<Sandbox>,
    /// Running containers by name and id.
    pub(crate) running: Vec<(String, String)>,
    pub(crate) address: Option<std::net::IpAddr>,
    /// The pod as it changes: its route goes, or its grace period is cut.
    pub(crate) pod: watch::Receiver<Arc<Pod>>,
    /// The pod is gone from the API (deleted by force): nothing is waited for.
    pub(crate) gone: CancellationToken,
    /// What the API was told of the pod; none when the whole machine stops, for which no pod is taken out of its routes first.
    pub(crate) said: Option<watch::Receiver<Arc<PodStatus>>>,
}

impl Descent {
    pub(crate) fn new(
        scope: Scope,
        observed: &Observed,
        sandbox: Option<Sandbox>,
        pod: watch::Receiver<Arc<Pod>>,
        gone: CancellationToken,
        said: Option<watch::Receiver<Arc<PodStatus>>>,
    ) -> Self {
        let running = containers(&scope.pod)
            .filter_map(|(container, _)| {
                let run = observed.containers.get(&container.name)?.running()?;
                Some((container.name.clone(), run.id.clone()))
            })
            .collect();
        Self { scope, sandbox, running, address: observed.pod_ips.first().copied(), pod, gone, said }
    }

    /// Stops all containers. A grace period that is cut meanwhile holds at once.
    pub(crate) async fn run(mut self) {
        let mut deadlines = Deadlines::of(&self.pod.borrow_and_update(), Timestamp::now());
        loop {
            let mut changes = self.pod.clone();
            let cut = async {
                loop {
                    if changes.changed().await.is_err() {
                        return std::future::pending().await;
                    }
                    let shorter = Deadlines::of(&changes.borrow_and_update(), Timestamp::now());
                    if shorter.killed < deadlines.killed {
                        return shorter;
                    }
                }
            };
            tokio::select! {
                () = self.steps(&deadlines) => return,
                shorter = cut => deadlines = shorter,
                () = self.gone.cancelled() => return self.kill_all().await,
            }
        }
    }

    async fn steps(&self, deadlines: &Deadlines) {
        if self.running.is_empty() {
            return;
        }
        if let Some(said) = &self.said {
            if self.pod.borrow().metadata.deletion_timestamp.is_none() {
                unroute::ask(&self.scope, said.clone(), deadlines).await;
            }
            unroute::unrouted(self.pod.clone(), deadlines).await;
            let netns = self.sandbox.as_ref().and_then(|sandbox| sandbox.netns.as_deref());
            unroute::drained(&self.scope, netns, deadlines).await;
        }
        let is_main = |container: &Container, is_init: bool| !(is_init && is_sidecar(container));
        let all: Vec<_> = containers(&self.scope.pod).collect();
        let mains = all.iter().filter(|(container, is_init)| is_main(container, *is_init));
        join_all(mains.map(|(container, _)| self.stop(container, deadlines))).await;
        // Sidecars serve the others to the end, and those that were started first serve the later ones.
        let sidecars = all.iter().rev().filter(|(container, is_init)| !is_main(container, *is_init));
        for (sidecar, _) in sidecars {
            self.stop(sidecar, deadlines).await;
        }
    }

    async fn stop(&self, container: &Container, deadlines: &Deadlines) {
        let Some((name, id)) = self.running.iter().find(|(name, _)| *name == container.name) else { return };
        let scope = &self.scope;
        let message = format!("Stopping container {name}");
        scope.kubelet.events.pod(&scope.pod, Some(field_path(&scope.pod, name)), Type::Normal, "Killing", message);
        pre_stop(scope, container, id, self.address, until(deadlines.killed)).await;
        let pod = Arc::clone(&self.pod.borrow());
        let grace = Duration::try_from(deadlines.grace(&pod, Timestamp::now())).unwrap_or_default();
        stop(scope, id, if grace_seconds(&pod) == 0 { Duration::ZERO } else { grace }).await;
    }

    async fn kill_all(&self) {
        join_all(self.running.iter().map(|(_, id)| stop(&self.scope, id, Duration::ZERO))).await;
    }
}
