//! Pods and what is known of them, for tests.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::{
    backoff::Backoff,
    observed::{Container, Failure, Identity, Observed, Outcome, Run, RunState, Sandbox},
};

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A pod `web-x` in `default` with uid `u1`.
pub(crate) fn pod(spec: Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": { "name": "web-x", "namespace": "default", "uid": "u1", "generation": 1 }, "spec": spec,
    }))
    .unwrap()
}

/// One container `web` and nothing special.
pub(crate) fn simple() -> Pod {
    pod(json!({ "containers": [{ "name": "web", "image": "nginx:1.14.2" }] }))
}

/// A pod whose sandbox is ready.
pub(crate) fn ready(containers: impl IntoIterator<Item = (&'static str, Container)>) -> Observed {
    Observed {
        started_at: Some(at(0)),
        sandbox: Sandbox::Ready,
        pod_ips: vec!["10.0.0.5".parse().unwrap()],
        host_ips: vec!["10.0.0.1".parse().unwrap()],
        containers: containers.into_iter().map(|(name, container)| (name.to_owned(), container)).collect(),
        ..Observed::default()
    }
}

fn run(attempt: u32, state: RunState) -> Run {
    Run {
        id: format!("c{attempt}"),
        attempt,
        image: "docker.io/library/nginx:1.14.2".into(),
        image_id: "docker.io/library/nginx@sha256:aa".into(),
        spec_hash: "h1".into(),
        in_sandbox: true,
        resources: None,
        identity: Some(Identity { uid: 101, gid: 101, groups: vec![101, 2000] }),
        state,
    }
}

pub(crate) fn running(attempt: u32) -> Container {
    let latest = Some(run(attempt, RunState::Running { started_at: at(1) }));
    Container { latest, started: true, ready: true, ..Container::default() }
}

pub(crate) fn exited(attempt: u32, exit_code: i32, finished: i64, backoff_seconds: i64) -> Container {
    let outcome = Outcome {
        started_at: Some(at(finished - 1)),
        finished_at: at(finished),
        exit_code,
        reason: if exit_code == 0 { "Completed".into() } else { "Error".into() },
        message: String::new(),
    };
    let backoff = Backoff { seconds: backoff_seconds, raised_at: Some(at(finished - 1)) };
    Container { latest: Some(run(attempt, RunState::Exited(outcome))), backoff, ..Container::default() }
}

pub(crate) fn failed(reason: &str, message: &str, happened: i64, retry: i64) -> Container {
    let failure = Failure { reason: reason.into(), message: message.into(), at: at(happened), retry_at: at(retry) };
    Container { failure: Some(failure), ..Container::default() }
}
