//! The status of one container.

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{
        Container as Spec, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
        ContainerStatus, ContainerUser, LinuxContainerUser, Pod, PodSpec, VolumeMountStatus,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::{
    backoff::go_seconds,
    observed::{CRASH_LOOP_BACK_OFF, Container, Identity, Observed, Outcome, Run, RunState},
    restart::{self, Next, is_sidecar, pod_reference},
};

/// Scheme of container ids in the API.
const ID_SCHEME: &str = "windlass://";

/// Words what is known of `spec`.
pub(super) fn container_status(
    pod: &Pod,
    pod_spec: &PodSpec,
    spec: &Spec,
    is_init: bool,
    observed: &Observed,
    now: Timestamp,
) -> ContainerStatus {
    let unknown = Container::default();
    let known = observed.containers.get(&spec.name).unwrap_or(&unknown);
    let waiting = waiting(pod, pod_spec, spec, is_init, known, observed, now);
    let latest = known.latest.as_ref();
    // A waiting container shows its newest run as the last state; one that waits for nothing shows it as the state.
    let (state, last) = match (waiting, latest) {
        (Some(waiting), latest) => (waiting, latest),
        (None, Some(run)) => (run_state(run), known.previous.as_ref()),
        (None, None) => (not_started(pod_spec), None),
    };
    let running = known.running().is_some();
    let image = latest.map(|run| run.image.as_str()).filter(|image| !image.is_empty());
    ContainerStatus {
        name: spec.name.clone(),
        container_id: latest.filter(|run| !run.id.is_empty()).map(|run| format!("{ID_SCHEME}{}", run.id)),
        image: image.or(spec.image.as_deref()).unwrap_or_default().to_owned(),
        image_id: latest.map(|run| run.image_id.clone()).unwrap_or_default(),
        ready: is_ready(pod, spec, is_init, known, observed),
        started: Some(running && known.started && (!is_init || is_sidecar(spec))),
        restart_count: latest.map_or(0, |run| i32::try_from(run.attempt).unwrap_or(i32::MAX)),
        last_state: Some(last.filter(|run| run.outcome().is_some()).map(run_state).unwrap_or_default()),
        state: Some(state),
        allocated_resources: spec.resources.as_ref().and_then(|resources| resources.requests.clone()),
        // What does not run has what it was granted.
        resources: known.running().and_then(|run| run.resources.clone()).or_else(|| spec.resources.clone()),
        volume_mounts: volume_mounts(spec),
        user: latest.and_then(user),
        ..ContainerStatus::default()
    }
}

/// Able to serve; a regular init container is ready once it has succeeded. That a pod is to be deleted does not make it unable, as
/// upstream; one that is stopped and stays in the API must not look as if it served.
pub(super) fn is_ready(pod: &Pod, spec: &Spec, is_init: bool, known: &Container, observed: &Observed) -> bool {
    if is_init && !is_sidecar(spec) {
        return known.succeeded();
    }
    let is_up = known.running().is_some() && known.started && known.ready && known.condemned.is_none();
    is_up && (!observed.stopping || pod.metadata.deletion_timestamp.is_some())
}

fn waiting(
    pod: &Pod,
    pod_spec: &PodSpec,
    spec: &Spec,
    is_init: bool,
    known: &Container,
    observed: &Observed,
    now: Timestamp,
) -> Option<ContainerState> {
    if known.running().is_some() || observed.stopping || observed.stopped {
        return None;
    }
    let is_over = known.outcome().is_some_and(|outcome| !restart::is_wanted_again(pod_spec, spec, is_init, outcome));
    if is_over && !known.busy {
        return None;
    }
    // A failure is over when its pause is, unless the next attempt is under way: then it still says why the container waits.
    if let Some(failure) = known.failure.as_ref().filter(|failure| known.busy || now < failure.retry_at) {
        let (reason, message) = failure.waiting(spec.image.as_deref().unwrap_or_default(), now);
        return Some(waiting_state(&reason, Some(message)));
    }
    // While it is being started it does not wait, although its back-off has been raised for the next crash already.
    if known.busy {
        return None;
    }
    if let Next::BackOff(_) = restart::next(pod_spec, spec, is_init, known, now) {
        let delay = go_seconds(known.backoff.seconds);
        let message = format!("back-off {delay} restarting failed container={} pod={}", spec.name, pod_reference(pod));
        return Some(waiting_state(CRASH_LOOP_BACK_OFF, Some(message)));
    }
    None
}

fn waiting_state(reason: &str, message: Option<String>) -> ContainerState {
    let waiting = ContainerStateWaiting { reason: Some(reason.to_owned()), message };
    ContainerState { waiting: Some(waiting), ..ContainerState::default() }
}

fn not_started(pod_spec: &PodSpec) -> ContainerState {
    let has_init = pod_spec.init_containers.as_ref().is_some_and(|containers| !containers.is_empty());
    waiting_state(if has_init { "PodInitializing" } else { "ContainerCreating" }, None)
}

fn run_state(run: &Run) -> ContainerState {
    match &run.state {
        RunState::Created => waiting_state("ContainerCreating", None),
        RunState::Running { started_at } => ContainerState {
            running: Some(ContainerStateRunning { started_at: Some(Time(*started_at)) }),
            ..ContainerState::default()
        },
        RunState::Exited(outcome) => ContainerState { terminated: Some(terminated(run, outcome)), ..ContainerState::default() },
    }
}

fn terminated(run: &Run, outcome: &Outcome) -> ContainerStateTerminated {
    ContainerStateTerminated {
        container_id: (!run.id.is_empty()).then(|| format!("{ID_SCHEME}{}", run.id)),
        exit_code: outcome.exit_code,
        finished_at: Some(Time(outcome.finished_at)),
        started_at: Some(Time(outcome.started_at.unwrap_or(outcome.finished_at))),
        reason: Some(outcome.reason.clone()),
        message: (!outcome.message.is_empty()).then(|| outcome.message.clone()),
        signal: None,
    }
}

fn user(run: &Run) -> Option<ContainerUser> {
    let Identity { uid, gid, groups } = run.identity.clone()?;
    Some(ContainerUser { linux: Some(LinuxContainerUser { uid, gid, supplemental_groups: Some(groups) }) })
}

fn volume_mounts(spec: &Spec) -> Option<Vec<VolumeMountStatus>> {
    let mounts = spec.volume_mounts.as_ref()?;
    let status = |mount: &k8s_openapi::api::core::v1::VolumeMount| {
        let read_only = mount.read_only.unwrap_or(false);
        VolumeMountStatus {
            name: mount.name.clone(),
            mount_path: mount.mount_path.clone(),
            read_only: read_only.then_some(true),
            recursive_read_only: read_only.then(|| "Disabled".to_owned()),
            ..VolumeMountStatus::default()
        }
    };
    Some(mounts.iter().map(status).collect())
}
