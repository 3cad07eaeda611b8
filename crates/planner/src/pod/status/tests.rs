//! Statuses as the API shows them, from what the kubelet has observed.

use expect_test::{Expect, expect};
use serde_json::json;

use super::*;
use crate::pod::{
    fixture::{at, exited, failed, pod, ready, running, simple},
    observed::Sandbox,
};

/// Prints phase, conditions that are not plainly True, and states.
fn check(pod: &Pod, observed: &Observed, expected: &Expect) {
    let status = status(pod, observed, &PodStatus::default(), at(100));
    let mut text = format!("{}\n", status.phase.unwrap());
    for condition in status.conditions.iter().flatten() {
        if condition.status != "True" || condition.reason.is_some() {
            let of = |field: &Option<String>| field.clone().unwrap_or_default();
            text += &format!("{}={} {} {}\n", condition.type_, condition.status, of(&condition.reason), of(&condition.message));
        }
    }
    for container in status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten()) {
        let state = serde_json::to_value(&container.state).unwrap();
        let last = serde_json::to_value(&container.last_state).unwrap();
        let mut line = format!("{} ready={} restarts={} {state}", container.name, container.ready, container.restart_count);
        if last != json!({}) {
            line += &format!(" last={last}");
        }
        text += &(line + "\n");
    }
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    expected.assert_eq(&(lines.join("\n") + "\n"));
}

#[test]
fn before_anything_runs() {
    check(
        &simple(),
        &Observed::default(),
        &expect![[r#"
        Pending
        PodReadyToStartContainers=False
        Ready=False ContainersNotReady containers with unready status: [web]
        ContainersReady=False ContainersNotReady containers with unready status: [web]
        web ready=false restarts=0 {"waiting":{"reason":"ContainerCreating"}}
    "#]],
    );
    let with_init =
        pod(json!({ "initContainers": [{ "name": "init", "image": "a" }], "containers": [{ "name": "web", "image": "b" }] }));
    check(
        &with_init,
        &ready([]),
        &expect![[r#"
        Pending
        Initialized=False ContainersNotInitialized containers with incomplete status: [init]
        Ready=False ContainersNotReady containers with unready status: [web]
        ContainersReady=False ContainersNotReady containers with unready status: [web]
        init ready=false restarts=0 {"waiting":{"reason":"PodInitializing"}}
        web ready=false restarts=0 {"waiting":{"reason":"PodInitializing"}}
    "#]],
    );
}

#[test]
fn running_and_crashing() {
    check(
        &simple(),
        &ready([("web", running(0))]),
        &expect![[r#"
        Running
        web ready=true restarts=0 {"running":{"startedAt":"1970-01-01T00:00:01Z"}}
    "#]],
    );
    check(
        &simple(),
        &ready([("web", exited(1, 1, 99, 10))]),
        &expect![[r#"
        Running
        Ready=False ContainersNotReady containers with unready status: [web]
        ContainersReady=False ContainersNotReady containers with unready status: [web]
        web ready=false restarts=1 {"waiting":{"message":"back-off 10s restarting failed container=web pod=web-x_default(u1)","reason":"CrashLoopBackOff"}} last={"terminated":{"containerID":"windlass://c1","exitCode":1,"finishedAt":"1970-01-01T00:01:39Z","reason":"Error","startedAt":"1970-01-01T00:01:38Z"}}
    "#]],
    );
    let stopping = Observed { stopping: true, ..ready([("web", running(0))]) };
    check(
        &simple(),
        &stopping,
        &expect![[r#"
        Running
        Ready=False ContainersNotReady containers with unready status: [web]
        ContainersReady=False ContainersNotReady containers with unready status: [web]
        web ready=false restarts=0 {"running":{"startedAt":"1970-01-01T00:00:01Z"}}
    "#]],
    );
    let mut deleted = simple();
    deleted.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    check(
        &deleted,
        &stopping,
        &expect![[r#"
        Running
        web ready=true restarts=0 {"running":{"startedAt":"1970-01-01T00:00:01Z"}}
    "#]],
    );
}

#[test]
fn images_that_cannot_be_pulled() {
    let error = "rpc error: not found";
    check(
        &simple(),
        &ready([("web", failed("ErrImagePull", error, 99, 110))]),
        &expect![[r#"
        Pending
        Ready=False ContainersNotReady containers with unready status: [web]
        ContainersReady=False ContainersNotReady containers with unready status: [web]
        web ready=false restarts=0 {"waiting":{"message":"rpc error: not found","reason":"ErrImagePull"}}
    "#]],
    );
    check(
        &simple(),
        &ready([("web", failed("ErrImagePull", error, 95, 105))]),
        &expect![[r#"
        Pending
        Ready=False ContainersNotReady containers with unready status: [web]
        ContainersReady=False ContainersNotReady containers with unready status: [web]
        web ready=false restarts=0 {"waiting":{"message":"Back-off pulling image \"nginx:1.14.2\": ErrImagePull: rpc error: not found","reason":"ImagePullBackOff"}}
    "#]],
    );
}

#[test]
fn ended() {
    let never = pod(json!({ "restartPolicy": "Never", "containers": [{ "name": "web", "image": "a" }] }));
    let over = |exit_code| Observed { sandbox: Sandbox::Absent, ..ready([("web", exited(0, exit_code, 99, 0))]) };
    check(
        &never,
        &over(0),
        &expect![[r#"
        Succeeded
        PodReadyToStartContainers=False
        Initialized=True PodCompleted
        Ready=False PodCompleted
        ContainersReady=False PodCompleted
        web ready=false restarts=0 {"terminated":{"containerID":"windlass://c0","exitCode":0,"finishedAt":"1970-01-01T00:01:39Z","reason":"Completed","startedAt":"1970-01-01T00:01:38Z"}}
    "#]],
    );
    check(
        &never,
        &over(1),
        &expect![[r#"
        Failed
        PodReadyToStartContainers=False
        Ready=False PodFailed
        ContainersReady=False PodFailed
        web ready=false restarts=0 {"terminated":{"containerID":"windlass://c0","exitCode":1,"finishedAt":"1970-01-01T00:01:39Z","reason":"Error","startedAt":"1970-01-01T00:01:38Z"}}
    "#]],
    );
}

#[test]
fn readiness_gates_hold_back_ready_only() {
    let gated = pod(
        json!({ "readinessGates": [{ "conditionType": "example.com/lb" }], "containers": [{ "name": "web", "image": "a" }] }),
    );
    check(
        &gated,
        &ready([("web", running(0))]),
        &expect![[r#"
        Running
        Ready=False ReadinessGatesNotReady corresponding condition of pod readiness gate "example.com/lb" does not exist.
        web ready=true restarts=0 {"running":{"startedAt":"1970-01-01T00:00:01Z"}}
    "#]],
    );
}

#[test]
fn a_pod_that_ended_never_runs_again_and_times_carry_over() {
    let previous = PodStatus { phase: Some("Failed".into()), ..PodStatus::default() };
    let status = status(&simple(), &ready([("web", running(0))]), &previous, at(100));
    assert_eq!(status.phase.as_deref(), Some("Failed"));
    let later = super::status(&simple(), &ready([("web", running(0))]), &status, at(200));
    assert_eq!(later.conditions.unwrap()[0].last_transition_time, Some(Time(at(100))));
}

#[test]
fn a_status_says_who_runs() {
    let status = status(&simple(), &ready([("web", running(0))]), &PodStatus::default(), at(100));
    let user = serde_json::to_value(&status.container_statuses.unwrap()[0].user).unwrap();
    assert_eq!(user, json!({ "linux": { "uid": 101, "gid": 101, "supplementalGroups": [101, 2000] } }));
}

#[test]
fn a_refused_pod_says_which_generation_was_refused() {
    let mut refused = simple();
    refused.metadata.generation = Some(3);
    let observed =
        Observed { refused: true, stopped: true, ended: Some(("OutOfcpu".into(), "no".into())), ..Observed::default() };
    let status = status(&refused, &observed, &PodStatus::default(), at(1));
    assert_eq!((status.phase.as_deref(), status.observed_generation), (Some("Failed"), Some(3)));
}
