//! The life of one pod on this machine: observe, plan, act, say what became of it.

mod apply;
mod back_off;
mod changes;
mod down;
mod resize;

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_util::sync::{CancellationToken, DropGuard};
use windlass_planner::{
    pod::{self as planner, Action, KillReason, Observed, Sandbox as SandboxState, ephemeral, observed},
    schedule::Refusal,
};

use self::resize::Resizes;
use super::{
    Handle, INBOX, Message,
    adopt::{self, Existing},
    container_config::spec_hash,
    ended, kill,
    objects::PodObjects,
    operation::{Done, Scope},
    set_up, start,
    status::StatusWriter,
};
use crate::{
    kubelet::{Grant, Kubelet},
    pod::{container, containers},
    probes::{self, Kind, Probed, Report},
    runtime::Sandbox,
    volumes::{MountedVolumes, PodVolumes},
};

/// Probe reports that wait for the worker; a probe waits when it is full.
const REPORTS: usize = 16;

/// Keeps one pod as its spec wants it, from first sight to the end.
pub(crate) struct Worker {
    kubelet: Arc<Kubelet>,
    /// As it was granted, which may be less than it asks for.
    pod: Arc<Pod>,
    pod_changes: watch::Receiver<Arc<Pod>>,
    grant: watch::Receiver<Grant>,
    resizes: Resizes,
    inbox: mpsc::Receiver<Message>,
    gone: CancellationToken,
    observed: Observed,
    hashes: BTreeMap<String, String>,
    status: StatusWriter,
    /// The pod ended before this kubelet started: there is nothing to add to what was said of it.
    is_history: bool,
    objects: Arc<PodObjects>,
    volumes: Arc<PodVolumes>,
    cancel: CancellationToken,
    sandbox: Option<Sandbox>,
    sandbox_attempt: u32,
    mounted: Arc<MountedVolumes>,
    set_up_failures: u32,
    /// When volumes are to be looked at again; `is_refreshing` while that is under way.
    refresh_at: Option<Timestamp>,
    is_refreshing: bool,
    operations: JoinSet<Done>,
    /// By container; dropping one stops its probes.
    probes: HashMap<String, DropGuard>,
    reports: mpsc::Receiver<Report>,
    report_to: mpsc::Sender<Report>,
    /// The probe that condemned a container.
    condemned_by: HashMap<String, Kind>,
    /// Containers that ended before their start was told.
    ended_early: HashSet<String>,
    /// Waiting reasons that events were made of, by container.
    told: HashMap<String, String>,
}

impl Worker {
    /// A worker for `pod`, and the hold on it.
    pub(crate) fn new(kubelet: &Arc<Kubelet>, pod: Pod, grant: Grant) -> (Self, Handle) {
        let pod = Arc::new(pod);
        let (pod_sender, pod_changes) = watch::channel(Arc::clone(&pod));
        let (pod, resizes) = (grant.allocation.apply(&pod), Resizes::new(&grant));
        let (grant_sender, grant) = watch::channel(grant);
        let (inbox_sender, inbox) = mpsc::channel(INBOX);
        let (report_to, reports) = mpsc::channel(REPORTS);
        let gone = CancellationToken::new();
        let status = StatusWriter::start(kubelet.client.clone(), pod_changes.clone(), &kubelet.tasks);
        let handle = Handle {
            pod: pod_sender,
            grant: grant_sender,
            inbox: inbox_sender,
            status: status.subscribe(),
            gone: gone.clone(),
            is_refused: false,
        };
        let worker = Self {
            objects: Arc::new(PodObjects::watch(&kubelet.objects, &pod)),
            hashes: hashes(&pod),
            kubelet: Arc::clone(kubelet),
            pod,
            pod_changes,
            resizes,
            grant,
            inbox,
            gone,
            observed: Observed::default(),
            status,
            is_history: false,
            volumes: Arc::default(),
            cancel: CancellationToken::new(),
            sandbox: None,
            sandbox_attempt: 0,
            mounted: Arc::default(),
            set_up_failures: 0,
            refresh_at: None,
            is_refreshing: false,
            operations: JoinSet::new(),
            probes: HashMap::new(),
            reports,
            report_to,
            condemned_by: HashMap::new(),
            ended_early: HashSet::new(),
            told: HashMap::new(),
        };
        (worker, handle)
    }

    /// Works until the pod is gone, or the machine stops.
    ///
    /// `refusal` says why this machine does not run it.
    pub(crate) async fn run(mut self, existing: Existing, refusal: Option<Refusal>) {
        self.adopt(existing).await;
        if let Some(refusal) = refusal {
            self.refuse(refusal);
        }
        loop {
            if self.gone.is_cancelled() || self.pod.metadata.deletion_timestamp.is_some() {
                return self.go_down().await;
            }
            if self.kubelet.shutting_down.is_cancelled() {
                return self.shut_down().await;
            }
            let plan = planner::plan(&self.pod, &self.observed, &self.hashes, Timestamp::now());
            let mut expires = false;
            for action in plan.actions {
                expires |= action == Action::Expire;
                self.act(action);
            }
            if expires {
                self.expire().await;
                continue;
            }
            self.publish();
            self.wait(plan.wake_at).await;
        }
    }

    /// Takes over what an earlier kubelet left, without touching what runs.
    async fn adopt(&mut self, mut existing: Existing) {
        let now = Timestamp::now();
        self.sandbox_attempt = existing.next_attempt();
        self.sandbox = existing.sandbox().cloned();
        if let Some(sandbox) = &self.sandbox {
            // Exits that were told before this worker could be told are in the list.
            if let Ok(containers) = self.kubelet.runtime.containers(Some(&sandbox.id)).await {
                existing.containers.retain(|container| container.sandbox_id != sandbox.id);
                existing.containers.extend(containers);
            }
        }
        self.observed = adopt::observe(&self.pod, &existing, &self.kubelet.paths, now);
        self.observed.started_at.get_or_insert(now);
        self.observed.host_ips = self.kubelet.host_ips();
        self.remove_leftovers(&existing);
        let phase = self.pod.status.as_ref().and_then(|status| status.phase.as_deref());
        if matches!(phase, Some("Succeeded" | "Failed")) {
            self.observed.stopped = true;
            self.is_history = self.sandbox.is_none();
        }
        if self.sandbox.is_none() {
            return;
        }
        // Before anything is said: the pod keeps its address.
        let done = set_up::set_up(self.scope(), self.sandbox.clone(), self.sandbox_attempt).await;
        self.apply(done).await;
        let running: Vec<String> = self
            .observed
            .containers
            .iter()
            .filter(|(_, known)| known.running().is_some())
            .map(|(name, _)| name.clone())
            .collect();
        for name in running {
            self.start_probes(&name);
        }
    }

    /// Removes sandboxes that are not the pod's any more, with the containers in them; their runs are noted already.
    fn remove_leftovers(&self, existing: &Existing) {
        let kept = self.sandbox.as_ref().map(|sandbox| sandbox.id.as_str());
        for sandbox in existing.sandboxes.iter().filter(|sandbox| Some(sandbox.id.as_str()) != kept) {
            let (kubelet, id) = (Arc::clone(&self.kubelet), sandbox.id.clone());
            self.kubelet.tasks.spawn(async move {
                if let Err(error) = kubelet.runtime.remove_sandbox(&id).await {
                    tracing::warn!(%error, sandbox = id, "removing a sandbox that is of no use any more");
                }
            });
        }
    }

    fn scope(&self) -> Scope {
        Scope {
            kubelet: Arc::clone(&self.kubelet),
            pod: Arc::clone(&self.pod),
            objects: Arc::clone(&self.objects),
            volumes: Arc::clone(&self.volumes),
            cancel: self.cancel.clone(),
        }
    }

    fn known(&mut self, container: &str) -> &mut observed::Container {
        self.observed.containers.entry(container.to_owned()).or_default()
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::SetUp => {
                self.observed.sandbox = SandboxState::SettingUp;
                self.operations.spawn(set_up::set_up(self.scope(), self.sandbox.clone(), self.sandbox_attempt));
            }
            Action::Start { container, attempt } => self.start(&container, attempt),
            Action::Kill { container, reason } => self.kill(&container, reason),
            Action::Resize { container } => self.resize(&container),
            Action::Release => {
                self.observed.sandbox = SandboxState::SettingUp;
                let (scope, sandbox) = (self.scope(), self.sandbox.clone());
                self.operations.spawn(async move {
                    set_up::release(&scope, sandbox.as_ref()).await;
                    Done::Released
                });
            }
            // Takes the whole worker: `run` does it.
            Action::Expire => {}
        }
    }

    fn start(&mut self, name: &str, attempt: u32) {
        let Some(spec) = container(&self.pod, name).map(Cow::into_owned) else { return };
        let Some(sandbox) = self.sandbox.as_ref().map(|sandbox| sandbox.id.clone()) else { return };
        let now = Timestamp::now();
        let known = self.known(name);
        known.busy = true;
        // A crash is answered once: an attempt that failed after it (for want of an image, say) was the answer already.
        let ended = known.outcome().map(|outcome| outcome.finished_at);
        let is_answered = known.failure.as_ref().is_some_and(|failure| ended.is_some_and(|ended| failure.at > ended));
        if let Some(ended) = ended.filter(|_| !is_answered && !known.replaced) {
            known.backoff = known.backoff.next(ended, now);
        }
        let pull_pause = known.failure.as_ref().filter(|failure| failure.reason == observed::ERR_IMAGE_PULL);
        let pull_pause_seconds = pull_pause.map_or(0, |failure| failure.retry_at.duration_since(failure.at).as_secs());
        let made = known.latest.as_ref().filter(|run| run.state == observed::RunState::Created).map(|run| run.id.clone());
        let backoff = known.backoff;
        let order = start::Order {
            container: spec,
            attempt,
            sandbox_id: sandbox,
            pod_ips: self.observed.pod_ips.clone(),
            mounted: Arc::clone(&self.mounted),
            backoff,
            pull_pause_seconds,
            made,
            target: self.target(name),
        };
        self.operations.spawn(start::start(self.scope(), order));
    }

    /// Whose processes an ephemeral container sees.
    fn target(&self, name: &str) -> Option<start::Target> {
        let target = ephemeral::target(self.pod.spec.as_ref()?, name)?;
        let run = self.observed.containers.get(target).and_then(|known| known.running());
        Some(start::Target { name: target.to_owned(), id: run.map(|run| run.id.clone()) })
    }

    fn kill(&mut self, name: &str, reason: KillReason) {
        let Some(spec) = container(&self.pod, name).map(Cow::into_owned) else { return };
        let Some(id) = self.observed.containers.get(name).and_then(|known| known.running()).map(|run| run.id.clone()) else {
            return;
        };
        self.probes.remove(name);
        let known = self.known(name);
        known.busy = true;
        known.ready = false;
        known.replaced = matches!(reason, KillReason::Changed | KillReason::Resized);
        let is_done = reason == KillReason::Done;
        let netns = self.sandbox.as_ref().and_then(|sandbox| sandbox.netns.clone());
        let routed = kill::Routed { pod: self.pod_changes.clone(), said: self.status.settled(), netns };
        let order = kill::Order {
            container: spec,
            id,
            reason,
            probe: self.condemned_by.get(name).copied(),
            // A sidecar that is not needed any more is of a pod that has finished.
            routed: (!is_done).then_some(routed),
            address: self.observed.pod_ips.first().copied(),
        };
        self.operations.spawn(kill::kill(self.scope(), order));
    }

    fn start_probes(&mut self, name: &str) {
        let Some(spec) = container(&self.pod, name).map(Cow::into_owned) else { return };
        let known = self.known(name);
        let Some(run) = known.running().cloned() else { return };
        let is_started = known.started;
        let kinds: Vec<Kind> = probes::of(&spec).into_iter().map(|(kind, _)| kind).collect();
        if kinds.is_empty() {
            return;
        }
        let observed::RunState::Running { started_at } = run.state else { return };
        let age = Duration::try_from(Timestamp::now().duration_since(started_at)).unwrap_or_default();
        let stop = CancellationToken::new();
        let target = self.scope().target(probes::default_host(&self.observed.pod_ips));
        let probed = Arc::new(Probed { container: spec, container_id: run.id, target, reports: self.report_to.clone() });
        self.kubelet.tasks.spawn(probes::run(probed, age, is_started, self.cancel.clone(), stop.clone()));
        self.probes.insert(name.to_owned(), stop.drop_guard());
    }

    fn inspect(&mut self, name: &str, id: &str, was_killed: bool) {
        self.operations.spawn(ended::inspect(self.scope(), name.to_owned(), id.to_owned(), was_killed));
    }

    fn can_refresh(&self) -> bool {
        !self.is_refreshing && self.observed.sandbox == SandboxState::Ready
    }

    fn refresh(&mut self) {
        if !self.can_refresh() {
            return;
        }
        self.is_refreshing = true;
        self.refresh_at = None;
        self.operations.spawn(set_up::refresh(self.scope()));
    }

    /// Waits for the next thing that happens to the pod, and takes note of it.
    async fn wait(&mut self, wake_at: Option<Timestamp>) {
        // What cannot be refreshed now is not waited for: it would be due at once, again and again.
        let refresh_at = self.refresh_at.filter(|_| self.can_refresh());
        let wake_at = [wake_at, refresh_at].into_iter().flatten().min();
        let timer = async {
            match wake_at {
                Some(at) => tokio::time::sleep(Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default()).await,
                None => std::future::pending().await,
            }
        };
        let changed = Arc::clone(&self.objects);
        tokio::select! {
            () = self.gone.cancelled() => {}
            () = self.kubelet.shutting_down.cancelled() => {}
            Ok(()) = self.pod_changes.changed() => self.see_pod(),
            Ok(()) = self.grant.changed() => self.see_pod(),
            Some(message) = self.inbox.recv() => self.hear(message).await,
            Some(Ok(done)) = self.operations.join_next(), if !self.operations.is_empty() => self.apply(done).await,
            Some(report) = self.reports.recv() => self.judge(report),
            () = changed.changed.notified() => self.see_objects(),
            () = timer => {
                if refresh_at.is_some_and(|at| at <= Timestamp::now()) {
                    self.refresh();
                }
            }
        }
    }

    fn publish(&mut self) {
        if self.is_history {
            return;
        }
        let status = planner::status(&self.pod, &self.observed, &self.status.latest(), Timestamp::now());
        self.tell_of_back_off(&status);
        self.tell_of_resize(&status);
        self.say(status);
    }
}

fn hashes(pod: &Pod) -> BTreeMap<String, String> {
    containers(pod).map(|(container, _)| (container.name.clone(), spec_hash(&container))).collect()
}
