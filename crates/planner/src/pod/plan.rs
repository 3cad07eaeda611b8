//! What to do next for one pod.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container as Spec, Pod, PodSpec};

use super::{
    ephemeral::{self, ephemeral},
    observed::{Container, Observed, Sandbox},
    resize::{self, Step},
    restart::{self, Next, is_sidecar},
};

/// One thing to do. The kubelet does it as it stands, concurrently with the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Make namespaces, network and volumes.
    SetUp,
    /// Start a container (pull its image when its policy says so).
    Start {
        /// Name.
        container: String,
        /// Number of this run, from 0.
        attempt: u32,
    },
    /// Stop a running container.
    Kill {
        /// Name.
        container: String,
        /// Why.
        reason: KillReason,
    },
    /// Give a running container the resources that it was granted.
    Resize {
        /// Name.
        container: String,
    },
    /// Stop the whole pod for good: it outlived `activeDeadlineSeconds`.
    Expire,
    /// Every container has ended for good: give back namespaces, network and volumes.
    Release,
}

/// Why a running container is stopped although its pod stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KillReason {
    /// A probe or hook failed; the text of the event.
    Condemned(String),
    /// Its image was changed.
    Changed,
    /// Its resources were changed, and it wants to be started with them.
    Resized,
    /// A sidecar or ephemeral container whose pod has done its work.
    Done,
}

/// What to do, and when to look again at the latest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// What to do now.
    pub actions: Vec<Action>,
    /// When time alone changes the plan or the status.
    pub wake_at: Option<Timestamp>,
}

impl Plan {
    fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }
}

/// Plans the next steps of a pod that is not being deleted. `hashes` has, by container name, the hash of the spec as it is now.
///
/// Containers are started one after the other in the order of the spec, as upstream: a container may count on the postStart hook of
/// the one before it. One that is in back-off does not hold up those behind it.
pub fn plan(pod: &Pod, observed: &Observed, hashes: &BTreeMap<String, String>, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    let Some(spec) = &pod.spec else { return plan };
    if observed.stopping {
        return plan;
    }
    if observed.stopped || is_over(spec, observed) {
        if observed.sandbox == Sandbox::Ready
            && !observed.containers.values().any(|known| known.busy || known.running().is_some())
        {
            plan.actions.push(Action::Release);
        }
        let ephemeral = ephemeral::running(spec, observed);
        plan.actions.extend(ephemeral.map(|container| Action::Kill { container, reason: KillReason::Done }));
        stop_sidecars(spec, observed, &mut plan);
        return plan;
    }
    if let Some(deadline) = deadline(spec, observed) {
        if now >= deadline {
            plan.actions.push(Action::Expire);
            return plan;
        }
        plan.wake(deadline);
    }
    match observed.sandbox {
        Sandbox::Absent => plan.actions.push(Action::SetUp),
        Sandbox::SettingUp => {}
        Sandbox::Failed { retry_at } if now >= retry_at => plan.actions.push(Action::SetUp),
        Sandbox::Failed { retry_at } => plan.wake(retry_at),
        Sandbox::Ready => Containers { spec, observed, hashes, now, plan: &mut plan }.plan(),
    }
    plan
}

/// Whether no container of the pod will run again: all have ended, or an init container failed for good.
pub(super) fn is_over(spec: &PodSpec, observed: &Observed) -> bool {
    let ended = |container: &Spec, is_init: bool| {
        let known = observed.containers.get(&container.name).filter(|known| !known.replaced);
        let outcome = known.and_then(Container::outcome);
        outcome.filter(|outcome| !restart::is_wanted_again(spec, container, is_init, outcome)).cloned()
    };
    let init_failed = spec
        .init_containers
        .iter()
        .flatten()
        .filter(|container| !is_sidecar(container))
        .any(|container| ended(container, true).is_some_and(|outcome| outcome.exit_code != 0));
    init_failed || spec.containers.iter().all(|container| ended(container, false).is_some())
}

/// A regular init container that succeeded in the sandbox that exists now.
fn is_done(known: &Container) -> bool {
    known.succeeded() && known.latest.as_ref().is_some_and(|run| run.in_sandbox)
}

fn deadline(spec: &PodSpec, observed: &Observed) -> Option<Timestamp> {
    Some(observed.started_at? + SignedDuration::from_secs(spec.active_deadline_seconds?))
}

/// Sidecars go in reverse order, each after the one that was started later.
fn stop_sidecars(spec: &PodSpec, observed: &Observed, plan: &mut Plan) {
    let running =
        spec.init_containers.iter().flatten().rev().find(|container| {
            observed.containers.get(&container.name).is_some_and(|known| known.busy || known.running().is_some())
        });
    if let Some(container) = running.filter(|container| observed.containers.get(&container.name).is_some_and(|known| !known.busy))
    {
        plan.actions.push(Action::Kill { container: container.name.clone(), reason: KillReason::Done });
    }
}

struct Containers<'a> {
    spec: &'a PodSpec,
    observed: &'a Observed,
    hashes: &'a BTreeMap<String, String>,
    now: Timestamp,
    plan: &'a mut Plan,
}

impl Containers<'_> {
    fn plan(&mut self) {
        self.kill_the_condemned();
        self.resize();
        self.start_ephemeral_containers();
        let init_done = self.start_init_containers();
        if init_done {
            for container in &self.spec.containers {
                if !self.start(container, false) {
                    break;
                }
            }
        }
    }

    fn known(&self, container: &Spec) -> Container {
        self.observed.containers.get(&container.name).cloned().unwrap_or_default()
    }

    /// Each once, whatever becomes of the others: they are there to find out why those do not start.
    fn start_ephemeral_containers(&mut self) {
        for container in ephemeral(self.spec) {
            if self.known(&container).outcome().is_none() {
                self.start(&container, false);
            }
        }
    }

    fn kill_the_condemned(&mut self) {
        for container in self.spec.init_containers.iter().flatten().chain(&self.spec.containers) {
            let known = self.known(container);
            let Some(run) = known.running().filter(|_| !known.busy) else { continue };
            let reason = match (&known.condemned, self.hashes.get(&container.name)) {
                (Some(why), _) => KillReason::Condemned(why.clone()),
                (None, Some(hash)) if *hash != run.spec_hash => KillReason::Changed,
                _ if resize::step(container, run) == Some(Step::Restart) => KillReason::Resized,
                _ => continue,
            };
            self.plan.actions.push(Action::Kill { container: container.name.clone(), reason });
        }
    }

    /// What failed is tried again after a pause.
    fn resize(&mut self) {
        for container in self.spec.init_containers.iter().flatten().chain(&self.spec.containers) {
            let known = self.known(container);
            let is_away = |run| resize::step(container, run) == Some(Step::InPlace);
            if known.busy || !known.running().is_some_and(is_away) || self.is_to_be_killed(container) {
                continue;
            }
            match known.resize_failure.filter(|failure| self.now < failure.retry_at) {
                Some(failure) => self.plan.wake(failure.retry_at),
                None => self.plan.actions.push(Action::Resize { container: container.name.clone() }),
            }
        }
    }

    fn is_to_be_killed(&self, container: &Spec) -> bool {
        self.plan.actions.iter().any(|action| matches!(action, Action::Kill { container: name, .. } if *name == container.name))
    }

    /// Starts what is next among the init containers; true once the regular ones have succeeded and the sidecars have started.
    fn start_init_containers(&mut self) -> bool {
        let main_has_run =
            self.spec.containers.iter().any(|container| self.known(container).latest.is_some_and(|run| run.in_sandbox));
        for container in self.spec.init_containers.iter().flatten() {
            let known = self.known(container);
            if is_sidecar(container) {
                let go_on = self.start(container, true);
                let is_up = go_on && known.running().is_some() && known.started;
                if !main_has_run && !is_up {
                    return false;
                }
            } else if !main_has_run && !is_done(&known) {
                self.start(container, true);
                return false;
            }
        }
        true
    }

    /// Starts the container if it is its turn; false while it is being started, so that those behind it wait.
    fn start(&mut self, container: &Spec, is_init: bool) -> bool {
        let known = self.known(container);
        if known.busy {
            return known.running().is_some();
        }
        if let Some(failure) = &known.failure {
            if let Some(turns_at) = failure.turns_at().filter(|at| *at > self.now) {
                self.plan.wake(turns_at);
            }
            if self.now < failure.retry_at {
                self.plan.wake(failure.retry_at);
                return true;
            }
        }
        let attempt = match &known.latest {
            None => 0,
            Some(run) if known.outcome().is_none() => {
                // Made but not started by a kubelet that was killed between the two.
                if known.running().is_some() {
                    return true;
                }
                run.attempt
            }
            Some(run) if is_init && !run.in_sandbox => run.attempt + 1,
            Some(run) => match restart::next(self.spec, container, is_init, &known, self.now) {
                Next::Stay => return true,
                Next::BackOff(until) => {
                    self.plan.wake(until);
                    return true;
                }
                Next::Restart => run.attempt + 1,
            },
        };
        self.plan.actions.push(Action::Start { container: container.name.clone(), attempt });
        false
    }
}

#[cfg(test)]
mod tests;
