//! What a worker finds when it starts: containers of an earlier kubelet, and what that one said of the pod.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container as ContainerSpec, ContainerState as ApiState, ContainerStatus, Pod, ResourceRequirements,
};
use windlass_planner::pod::{self as planner, Observed, Outcome, Run, RunState, backoff::Backoff};

use super::{container_config::note, ended};
use crate::{
    paths::Paths,
    pod::{containers, statuses},
    runtime::{Container, Sandbox},
};

/// What the runtime has of one pod.
#[derive(Debug, Clone, Default)]
pub(crate) struct Existing {
    pub(crate) sandboxes: Vec<Sandbox>,
    pub(crate) containers: Vec<Container>,
}

impl Existing {
    /// The newest sandbox whose namespaces are there; the others are leftovers.
    pub(crate) fn sandbox(&self) -> Option<&Sandbox> {
        self.sandboxes.iter().filter(|sandbox| sandbox.ready).max_by_key(|sandbox| sandbox.config.attempt)
    }

    /// Number of the next sandbox.
    pub(crate) fn next_attempt(&self) -> u32 {
        self.sandboxes.iter().map(|sandbox| sandbox.config.attempt + 1).max().unwrap_or(0)
    }

    /// What the newest run of a container was granted, where that was noted.
    pub(crate) fn resources(&self, name: &str) -> Option<ResourceRequirements> {
        let runs = self.containers.iter().filter(|container| container.config.name == name);
        runs.max_by_key(|container| container.config.attempt).and_then(noted_resources)
    }
}

/// Kubelets before it could be changed did not note it.
fn noted_resources(container: &Container) -> Option<ResourceRequirements> {
    serde_json::from_str(container.config.annotations.get(note::RESOURCES)?).ok()
}

/// Puts together what is known of `pod`: from the runtime, and for containers that it does not have, from the status in the API.
pub(crate) fn observe(pod: &Pod, existing: &Existing, paths: &Paths, now: Timestamp) -> Observed {
    let status = pod.status.as_ref();
    let mut observed =
        Observed { started_at: status.and_then(|status| status.start_time.clone()).map(|time| time.0), ..Observed::default() };
    let said = status.into_iter().flat_map(statuses);
    let said: BTreeMap<&str, &ContainerStatus> = said.map(|status| (status.name.as_str(), status)).collect();
    let sandbox_id = existing.sandbox().map(|sandbox| sandbox.id.as_str());
    for (spec, _) in containers(pod) {
        let said = said.get(spec.name.as_str()).copied();
        let known = from_runtime(pod, existing, &spec, sandbox_id, said, paths, now).or_else(|| from_api(said?, now));
        if let Some(known) = known {
            observed.containers.insert(spec.name.clone(), known);
        }
    }
    observed
}

fn from_runtime(
    pod: &Pod,
    existing: &Existing,
    spec: &ContainerSpec,
    sandbox_id: Option<&str>,
    said: Option<&ContainerStatus>,
    paths: &Paths,
    now: Timestamp,
) -> Option<planner::Container> {
    let mut found: Vec<&Container> = existing.containers.iter().filter(|container| container.config.name == spec.name).collect();
    found.sort_by_key(|container| container.config.attempt);
    let run = |container: &&Container| {
        let noted = |key: &str| container.config.annotations.get(key).cloned().unwrap_or_default();
        let in_sandbox = Some(container.sandbox_id.as_str()) == sandbox_id;
        let state = match ended::state(paths, pod, container) {
            ended @ RunState::Exited(_) => ended,
            // Nothing runs in a sandbox that is gone, whatever the runtime has of it.
            _ if !in_sandbox => RunState::Exited(ended::lost(now)),
            state => state,
        };
        Run {
            id: container.id.clone(),
            attempt: container.config.attempt,
            image: noted(note::IMAGE),
            image_id: noted(note::IMAGE_ID),
            spec_hash: noted(note::SPEC_HASH),
            in_sandbox,
            resources: noted_resources(container),
            identity: container.identity.clone(),
            state,
        }
    };
    let latest = found.pop()?;
    let number = |key: &str| latest.config.annotations.get(key).and_then(|value| value.parse::<i64>().ok());
    let raised_at = number(note::BACKOFF_RAISED_AT).and_then(|second| Timestamp::from_second(second).ok());
    // What was said of this very run still holds: no probe has said otherwise since. What no probe decides holds by itself: an earlier
    // kubelet may have been killed right after the start, before it could say so.
    let said = said.filter(|said| said.container_id.as_deref().is_some_and(|id| id.ends_with(&latest.id)));
    Some(planner::Container {
        latest: Some(run(&latest)),
        previous: found.last().map(run),
        started: spec.startup_probe.is_none() || said.and_then(|said| said.started).unwrap_or(false),
        ready: spec.readiness_probe.is_none() || said.is_some_and(|said| said.ready),
        backoff: Backoff { seconds: number(note::BACKOFF_SECONDS).unwrap_or(0), raised_at },
        ..planner::Container::default()
    })
}

/// A container that the runtime has lost: with the machine's last start, say.
fn from_api(said: &ContainerStatus, now: Timestamp) -> Option<planner::Container> {
    let run = |state: &ApiState, attempt: i32| {
        let outcome = match (&state.terminated, &state.running) {
            (Some(ended), _) => Outcome {
                started_at: ended.started_at.as_ref().map(|time| time.0),
                finished_at: ended.finished_at.as_ref().map_or(now, |time| time.0),
                exit_code: ended.exit_code,
                reason: ended.reason.clone().unwrap_or_default(),
                message: ended.message.clone().unwrap_or_default(),
            },
            (None, Some(running)) => Outcome { started_at: running.started_at.as_ref().map(|time| time.0), ..ended::lost(now) },
            _ => return None,
        };
        let id = state.terminated.as_ref().and_then(|ended| ended.container_id.as_deref()).or(said.container_id.as_deref());
        Some(Run {
            id: id.unwrap_or_default().rsplit('/').next().unwrap_or_default().to_owned(),
            attempt: u32::try_from(attempt).unwrap_or(0),
            image: said.image.clone(),
            image_id: said.image_id.clone(),
            spec_hash: String::new(),
            in_sandbox: false,
            resources: None,
            identity: None,
            state: RunState::Exited(outcome),
        })
    };
    let last = said.last_state.as_ref().and_then(|state| run(state, said.restart_count.max(1) - 1));
    let (latest, previous) = match said.state.as_ref().and_then(|state| run(state, said.restart_count)) {
        Some(latest) => (Some(latest), last),
        // Waiting: its last run is the newest there is, and the restart count is that run's.
        None => (said.last_state.as_ref().and_then(|state| run(state, said.restart_count)), None),
    };
    latest.is_some().then(|| planner::Container { latest, previous, ..planner::Container::default() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(status: serde_json::Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": { "name": "web", "namespace": "default", "uid": "u1" },
            "spec": { "containers": [{ "name": "web", "image": "nginx" }] },
            "status": { "containerStatuses": [status] },
        }))
        .unwrap()
    }

    fn now() -> Timestamp {
        Timestamp::from_second(1000).unwrap()
    }

    #[test]
    fn a_running_container_that_is_gone_counts_as_ended() {
        let pod = pod(json!({
            "name": "web", "image": "nginx", "imageID": "i", "ready": true, "restartCount": 2, "containerID": "windlass://abc",
            "state": { "running": { "startedAt": "1970-01-01T00:00:10Z" } },
        }));
        let observed = observe(&pod, &Existing::default(), &Paths::new("/nowhere".as_ref()), now());
        let latest = observed.containers["web"].latest.clone().unwrap();
        assert_eq!((latest.id.as_str(), latest.attempt, latest.in_sandbox), ("abc", 2, false));
        let outcome = latest.outcome().unwrap();
        assert_eq!((outcome.exit_code, outcome.reason.as_str()), (137, "ContainerStatusUnknown"));
    }

    /// What is known of a container that runs, of the pod above, and nothing else is.
    fn take_over(pod: &Pod) -> planner::Container {
        let container = Container {
            id: "c1".into(),
            sandbox_id: "s".into(),
            config: crate::runtime::ContainerConfig {
                name: "web".into(),
                attempt: 1,
                annotations: [(note::SPEC_HASH.to_owned(), "h".to_owned()), (note::BACKOFF_SECONDS.to_owned(), "20".to_owned())]
                    .into(),
                ..Default::default()
            },
            identity: None,
            created_at: now(),
            state: crate::runtime::ContainerState::Running { started_at: now() },
        };
        let sandbox = Sandbox {
            id: "s".into(),
            config: crate::runtime::SandboxConfig::default(),
            netns: None,
            ready: true,
            created_at: now(),
        };
        let existing = Existing { sandboxes: vec![sandbox], containers: vec![container] };
        observe(pod, &existing, &Paths::new("/nowhere".as_ref()), now()).containers["web"].clone()
    }

    #[test]
    fn a_running_container_is_taken_over_as_it_was() {
        let pod = pod(json!({
            "name": "web", "image": "nginx", "imageID": "i", "ready": true, "started": true, "restartCount": 1,
            "containerID": "windlass://c1", "state": { "running": { "startedAt": "1970-01-01T00:00:10Z" } },
        }));
        let known = take_over(&pod);
        assert!(known.ready && known.started && known.running().is_some());
        assert_eq!((known.latest.unwrap().spec_hash.as_str(), known.backoff.seconds), ("h", 20));
    }

    #[test]
    fn a_container_that_was_started_and_never_spoken_of_has_started_unless_a_probe_decides() {
        let mut pod = pod(json!({
            "name": "web", "image": "nginx", "imageID": "", "ready": false, "started": false, "restartCount": 0,
            "state": { "waiting": { "reason": "ContainerCreating" } },
        }));
        let known = take_over(&pod);
        assert_eq!((known.started, known.ready), (true, true));
        let spec = &mut pod.spec.as_mut().unwrap().containers[0];
        spec.readiness_probe = Some(k8s_openapi::api::core::v1::Probe::default());
        let known = take_over(&pod);
        assert_eq!((known.started, known.ready), (true, false));
        pod.spec.as_mut().unwrap().containers[0].startup_probe = Some(k8s_openapi::api::core::v1::Probe::default());
        let known = take_over(&pod);
        assert_eq!((known.started, known.ready), (false, false));
    }
}
