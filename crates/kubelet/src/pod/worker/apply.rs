//! Taking note of what happened: results of operations, exits, probe reports.

use jiff::{SignedDuration, Timestamp};
use windlass_planner::pod::{Failure, Run, RunState, Sandbox as SandboxState};

use super::Worker;
use crate::{
    events::Type,
    paths::container_log,
    pod::{
        Message, container, field_path, name, namespace,
        operation::{Done, Failed, Started},
        start::{ERROR_SHOWN_SECONDS, POST_START_HOOK_ERROR},
        uid,
    },
    probes::{Kind, Report},
    runtime::{Error, Sandbox},
    volumes::{self, MountedVolumes},
};

/// First pause after a pod could not be set up, in milliseconds; doubles to the longest.
const SET_UP_PAUSE_MILLIS: i64 = 500;
const LONGEST_SET_UP_PAUSE_MILLIS: i64 = 60_000;
/// Pause after volumes could not be refreshed.
const REFRESH_PAUSE: SignedDuration = SignedDuration::from_secs(10);

impl Worker {
    pub(super) async fn apply(&mut self, done: Done) {
        match done {
            Done::SetUp { sandbox, volumes } => self.is_set_up(sandbox, volumes).await,
            Done::Started { container, result: Ok(started) } => self.is_started(&container, started),
            Done::Started { container, result: Err(failed) } => self.is_not_started(&container, failed),
            Done::Inspected { container, id, state, was_killed } => self.is_inspected(&container, &id, state, was_killed),
            Done::Resized { container, id, result } => self.is_resized(&container, &id, result),
            Done::Killed { container, id } => {
                if self.known(&container).latest.as_ref().is_some_and(|run| run.id == id) {
                    self.inspect(&container, &id, true);
                }
            }
            Done::Refreshed(result) => {
                self.is_refreshing = false;
                if let Err(error) = result {
                    self.kubelet.events.pod(&self.pod, None, Type::Warning, "FailedMount", error.to_string());
                    self.refresh_at = Some(Timestamp::now() + REFRESH_PAUSE);
                } else if self.refresh_at.is_none() {
                    self.refresh_at = self.volumes.refresh_at().await;
                }
            }
            Done::Released => {
                self.sandbox = None;
                self.observed.sandbox = SandboxState::Absent;
                self.observed.stopped = true;
            }
        }
    }

    async fn is_set_up(
        &mut self,
        sandbox: Result<(Sandbox, Vec<std::net::IpAddr>), String>,
        volumes: Result<MountedVolumes, volumes::Error>,
    ) {
        let mut is_ready = true;
        match sandbox {
            Ok((sandbox, ips)) => {
                self.sandbox_attempt = sandbox.config.attempt + 1;
                self.sandbox = Some(sandbox);
                self.observed.pod_ips = ips;
            }
            Err(why) => {
                is_ready = false;
                self.sandbox = None;
                self.sandbox_attempt += 1;
                let message = format!("Failed to create pod sandbox: {why}");
                self.kubelet.events.pod(&self.pod, None, Type::Warning, "FailedCreatePodSandBox", message);
            }
        }
        match volumes {
            Ok(mounted) => {
                self.mounted = mounted.into();
                self.refresh_at = self.volumes.refresh_at().await;
            }
            Err(error) => {
                is_ready = false;
                self.kubelet.events.pod(&self.pod, None, Type::Warning, "FailedMount", error.to_string());
            }
        }
        self.observed.sandbox = if is_ready {
            self.set_up_failures = 0;
            SandboxState::Ready
        } else {
            let pause = (SET_UP_PAUSE_MILLIS << self.set_up_failures.min(10)).min(LONGEST_SET_UP_PAUSE_MILLIS);
            self.set_up_failures += 1;
            SandboxState::Failed { retry_at: Timestamp::now() + SignedDuration::from_millis(pause) }
        };
    }

    fn is_started(&mut self, container_name: &str, started: Started) {
        let spec = container(&self.pod, container_name);
        let has_startup_probe = spec.as_ref().is_some_and(|spec| spec.startup_probe.is_some());
        let has_readiness_probe = spec.as_ref().is_some_and(|spec| spec.readiness_probe.is_some());
        let id = started.run.id.clone();
        let has_ended = started.run.outcome().is_some();
        self.put_run(container_name, started.run);
        let known = self.known(container_name);
        let at = Timestamp::now();
        known.condemned = started.hook_failure.as_ref().map(|_| "FailedPostStartHook".to_owned());
        // Shown once the container is killed.
        known.failure =
            started.hook_failure.map(|message| Failure { reason: POST_START_HOOK_ERROR.to_owned(), message, at, retry_at: at });
        known.started = !has_startup_probe;
        known.ready = !has_readiness_probe;
        self.condemned_by.remove(container_name);
        self.start_probes(container_name);
        if self.ended_early.remove(&id) && !has_ended {
            self.inspect(container_name, &id, false);
        }
    }

    fn is_not_started(&mut self, container: &str, failed: Failed) {
        if let Some(run) = failed.run {
            self.put_run(container, run);
        }
        let known = self.known(container);
        known.busy = false;
        known.failure = Some(failed.failure);
    }

    /// Makes `run` the newest; of those before it the last is kept, for `kubectl logs --previous`.
    fn put_run(&mut self, container: &str, run: Run) {
        let known = self.known(container);
        known.busy = false;
        known.replaced = false;
        known.resize_failure = None;
        let is_same_attempt = known.latest.as_ref().is_some_and(|latest| latest.attempt == run.attempt);
        let replaced = known.latest.replace(run);
        let forgotten = if is_same_attempt { replaced } else { std::mem::replace(&mut known.previous, replaced) };
        if let Some(old) = forgotten.filter(|old| !old.id.is_empty() && old.outcome().is_some()) {
            self.forget(container, old, is_same_attempt);
        }
    }

    /// Removes a container that ended and, unless a newer run writes there, its log.
    fn forget(&self, container: &str, run: Run, keeps_log: bool) {
        let logs = self.kubelet.paths.pod_logs(namespace(&self.pod), name(&self.pod), uid(&self.pod));
        let log = container_log(&logs, container, run.attempt);
        let kubelet = self.kubelet.clone();
        self.kubelet.tasks.spawn(async move {
            match kubelet.runtime.remove_container(&run.id).await {
                Ok(()) | Err(Error::NotFound { .. }) => {}
                Err(error) => tracing::warn!(%error, id = run.id, "removing a container that ended"),
            }
            if !keeps_log {
                crate::logs::remove(&log).await;
            }
        });
    }

    fn is_inspected(&mut self, container: &str, id: &str, state: RunState, was_killed: bool) {
        let has_ended = matches!(state, RunState::Exited(_));
        let known = self.known(container);
        // What has ended is looked at twice, once when it is killed and once when that is told: the next run may be on its way already.
        let Some(run) = known.latest.as_mut().filter(|run| run.id == id && run.outcome().is_none()) else { return };
        run.state = state;
        // One that was only looked at may still be in the middle of something; one that outlived its kill is to be killed again.
        known.busy &= !(has_ended || was_killed);
        if has_ended {
            known.ready = false;
            known.started = false;
            known.condemned = None;
            if let Some(failure) = known.failure.as_mut().filter(|failure| failure.reason == POST_START_HOOK_ERROR) {
                failure.retry_at = Timestamp::now() + SignedDuration::from_secs(ERROR_SHOWN_SECONDS);
            }
            self.probes.remove(container);
        }
    }

    pub(super) async fn hear(&mut self, message: Message) {
        match message {
            Message::Exited(id) => {
                let found =
                    self.observed.containers.iter().find(|(_, known)| known.latest.as_ref().is_some_and(|run| run.id == id));
                match found.map(|(name, _)| name.clone()) {
                    Some(name) => self.inspect(&name, &id, false),
                    None => drop(self.ended_early.insert(id)),
                }
            }
            Message::Relist => {
                let running: Vec<(String, String)> = self
                    .observed
                    .containers
                    .iter()
                    .filter_map(|(name, known)| Some((name.clone(), known.running()?.id.clone())))
                    .collect();
                for (name, id) in running {
                    self.inspect(&name, &id, false);
                }
            }
        }
    }

    pub(super) fn judge(&mut self, report: Report) {
        let path = field_path(&self.pod, &report.container);
        let is_current = self.observed.containers.get(&report.container).and_then(|known| known.running());
        if is_current.is_none_or(|run| run.id != report.container_id) {
            return;
        }
        // From before it was to stop.
        if self.observed.stopping && report.kind != Kind::Readiness {
            return;
        }
        if let Some((reason, message)) = report.told {
            self.kubelet.events.pod(&self.pod, Some(path), Type::Warning, reason, message);
        }
        let known = self.known(&report.container);
        match (report.kind, report.changed) {
            (_, None) | (Kind::Liveness, Some(true)) => {}
            (Kind::Startup, Some(true)) => known.started = true,
            (Kind::Readiness, Some(ready)) => known.ready = ready,
            (kind @ (Kind::Startup | Kind::Liveness), Some(false)) => {
                known.condemned = Some(format!("failed {} probe", kind.name().to_lowercase()));
                self.condemned_by.insert(report.container, kind);
            }
        }
    }
}
