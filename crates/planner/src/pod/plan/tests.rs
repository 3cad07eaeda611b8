//! Plans of pods in every state that a test can name.

use expect_test::{Expect, expect};
use serde_json::json;

use super::*;
use crate::pod::fixture::{at, exited, failed, pod, ready, running, simple};

/// Plans at 100 s and prints the plan, one action a line.
fn check(pod: &Pod, observed: &Observed, expected: &Expect) {
    let hashes = observed.containers.keys().map(|name| (name.clone(), "h1".to_owned())).collect();
    let plan = plan(pod, observed, &hashes, at(100));
    let mut text: String = plan.actions.iter().map(|action| format!("{action:?}\n")).collect();
    if let Some(wake_at) = plan.wake_at {
        text.push_str(&format!("wake at {}\n", wake_at.as_second()));
    }
    expected.assert_eq(&text);
}

fn with_init() -> Pod {
    pod(json!({
        "initContainers": [
            { "name": "first", "image": "a" }, { "name": "mesh", "image": "b", "restartPolicy": "Always" }, { "name": "last", "image": "c" },
        ],
        "containers": [{ "name": "web", "image": "d" }, { "name": "log", "image": "e" }],
    }))
}

#[test]
fn a_new_pod_is_set_up_then_started() {
    check(
        &simple(),
        &Observed::default(),
        &expect![[r#"
        SetUp
    "#]],
    );
    check(
        &simple(),
        &ready([]),
        &expect![[r#"
        Start { container: "web", attempt: 0 }
    "#]],
    );
    check(&simple(), &ready([("web", running(0))]), &expect![""]);
    let failed_at = Observed { sandbox: Sandbox::Failed { retry_at: at(101) }, ..Observed::default() };
    check(
        &simple(),
        &failed_at,
        &expect![[r#"
        wake at 101
    "#]],
    );
}

#[test]
fn containers_start_in_order() {
    let pod = with_init();
    check(
        &pod,
        &ready([]),
        &expect![[r#"
        Start { container: "first", attempt: 0 }
    "#]],
    );
    check(
        &pod,
        &ready([("first", exited(0, 0, 50, 0))]),
        &expect![[r#"
        Start { container: "mesh", attempt: 0 }
    "#]],
    );
    let starting = Container { started: false, ..running(0) };
    check(&pod, &ready([("first", exited(0, 0, 50, 0)), ("mesh", starting)]), &expect![""]);
    check(
        &pod,
        &ready([("first", exited(0, 0, 50, 0)), ("mesh", running(0))]),
        &expect![[r#"
        Start { container: "last", attempt: 0 }
    "#]],
    );
    let init = || [("first", exited(0, 0, 50, 0)), ("mesh", running(0)), ("last", exited(0, 0, 51, 0))];
    check(
        &pod,
        &ready(init()),
        &expect![[r#"
        Start { container: "web", attempt: 0 }
    "#]],
    );
    check(&pod, &ready(init().into_iter().chain([("web", Container { busy: true, ..Container::default() })])), &expect![""]);
    check(
        &pod,
        &ready(init().into_iter().chain([("web", failed("ErrImagePull", "no", 99, 110))])),
        &expect![[r#"
        Start { container: "log", attempt: 0 }
        wake at 101
    "#]],
    );
}

#[test]
fn a_sidecar_that_dies_later_is_started_again_beside_the_others() {
    let containers = [
        ("first", exited(0, 0, 50, 0)),
        ("mesh", exited(0, 1, 99, 0)),
        ("last", exited(0, 0, 51, 0)),
        ("web", running(0)),
        ("log", running(0)),
    ];
    check(
        &with_init(),
        &ready(containers),
        &expect![[r#"
        Start { container: "mesh", attempt: 1 }
    "#]],
    );
}

#[test]
fn a_crashed_container_waits_for_its_back_off() {
    check(
        &simple(),
        &ready([("web", exited(0, 1, 99, 0))]),
        &expect![[r#"
        Start { container: "web", attempt: 1 }
    "#]],
    );
    check(
        &simple(),
        &ready([("web", exited(3, 1, 95, 20))]),
        &expect![[r#"
        wake at 115
    "#]],
    );
    check(
        &simple(),
        &ready([("web", exited(3, 1, 75, 20))]),
        &expect![[r#"
        Start { container: "web", attempt: 4 }
    "#]],
    );
}

#[test]
fn a_pod_that_is_over_is_released() {
    let never = pod(json!({ "restartPolicy": "Never", "containers": [{ "name": "web", "image": "a" }] }));
    check(
        &never,
        &ready([("web", exited(0, 1, 99, 0))]),
        &expect![[r#"
        Release
    "#]],
    );
    let with_sidecar = pod(json!({
        "restartPolicy": "Never",
        "initContainers": [{ "name": "mesh", "image": "b", "restartPolicy": "Always" }],
        "containers": [{ "name": "web", "image": "a" }],
    }));
    check(
        &with_sidecar,
        &ready([("mesh", running(0)), ("web", exited(0, 0, 99, 0))]),
        &expect![[r#"
        Kill { container: "mesh", reason: Done }
    "#]],
    );
    check(
        &with_sidecar,
        &ready([("mesh", exited(0, 0, 100, 0)), ("web", exited(0, 0, 99, 0))]),
        &expect![[r#"
        Release
    "#]],
    );
}

#[test]
fn a_condemned_or_changed_container_is_killed() {
    let condemned = Container { condemned: Some("failed liveness probe".into()), ..running(0) };
    check(
        &simple(),
        &ready([("web", condemned)]),
        &expect![[r#"
        Kill { container: "web", reason: Condemned("failed liveness probe") }
    "#]],
    );
    let mut changed = running(0);
    changed.latest.as_mut().unwrap().spec_hash = "old".into();
    check(
        &simple(),
        &ready([("web", changed)]),
        &expect![[r#"
        Kill { container: "web", reason: Changed }
    "#]],
    );
}

#[test]
fn init_containers_run_again_in_a_new_sandbox() {
    let pod =
        pod(json!({ "initContainers": [{ "name": "init", "image": "a" }], "containers": [{ "name": "web", "image": "b" }] }));
    let mut init = exited(0, 0, 50, 0);
    init.latest.as_mut().unwrap().in_sandbox = false;
    let mut web = exited(2, 137, 60, 0);
    web.latest.as_mut().unwrap().in_sandbox = false;
    check(
        &pod,
        &ready([("init", init), ("web", web.clone())]),
        &expect![[r#"
        Start { container: "init", attempt: 1 }
    "#]],
    );
    check(
        &pod,
        &ready([("init", exited(1, 0, 90, 0)), ("web", web)]),
        &expect![[r#"
        Start { container: "web", attempt: 3 }
    "#]],
    );
}

#[test]
fn a_deadline_ends_the_pod() {
    let pod = pod(json!({ "activeDeadlineSeconds": 60, "containers": [{ "name": "web", "image": "a" }] }));
    check(
        &pod,
        &ready([("web", running(0))]),
        &expect![[r#"
        Expire
    "#]],
    );
    let young = Observed { started_at: Some(at(90)), ..ready([("web", running(0))]) };
    check(
        &pod,
        &young,
        &expect![[r#"
        wake at 150
    "#]],
    );
}

#[test]
fn an_ephemeral_container_starts_once_whatever_the_others_do() {
    let pod = pod(json!({
        "initContainers": [{ "name": "first", "image": "a" }],
        "containers": [{ "name": "web", "image": "b" }],
        "ephemeralContainers": [{ "name": "look", "image": "c", "targetContainerName": "web" }],
    }));
    let first = || ("first", failed("ErrImagePull", "no", 95, 200));
    check(
        &pod,
        &ready([first()]),
        &expect![[r#"
            Start { container: "look", attempt: 0 }
            wake at 200
        "#]],
    );
    check(
        &pod,
        &ready([first(), ("look", exited(0, 4, 99, 10))]),
        &expect![[r#"
            wake at 200
        "#]],
    );
    // A pod that has ended takes it along.
    let over = pod_that_ends();
    check(
        &over,
        &ready([("web", exited(0, 0, 99, 10)), ("look", running(0))]),
        &expect![[r#"
        Kill { container: "look", reason: Done }
    "#]],
    );
    assert_eq!(crate::pod::ephemeral::target(pod.spec.as_ref().unwrap(), "look"), Some("web"));
}

fn pod_that_ends() -> Pod {
    pod(json!({
        "restartPolicy": "Never", "containers": [{ "name": "web", "image": "b" }], "ephemeralContainers": [{ "name": "look" }],
    }))
}
