//! The states a pod can show.

use expect_test::expect;
use serde_json::{Value, json};

use super::check;
use crate::kind::core::POD;

fn pod(name: &str, spec: Value, status: Value) -> Value {
    json!({ "kind": "Pod", "metadata": { "name": name }, "spec": spec, "status": status })
}

fn one(name: &str, status: Value) -> Value {
    pod(name, json!({ "containers": [{ "name": "c" }], "nodeName": "node-1" }), status)
}

fn waiting(reason: &str) -> Value {
    json!({ "phase": "Pending", "containerStatuses": [{ "restartCount": 0, "state": { "waiting": { "reason": reason } } }] })
}

fn running(restarts: i64, ready: bool) -> Value {
    json!({
        "phase": "Running", "podIP": "10.1.0.5", "podIPs": [{ "ip": "10.1.0.5" }],
        "conditions": [{ "type": "Ready", "status": if ready { "True" } else { "False" } }],
        "containerStatuses": [{
            "restartCount": restarts, "ready": ready, "state": { "running": {} },
            "lastState": if restarts > 0 { json!({ "terminated": { "finishedAt": "2024-01-01T23:59:55Z" } }) } else { json!({}) },
        }],
    })
}

fn terminated(phase: &str, state: Value) -> Value {
    json!({ "phase": phase, "containerStatuses": [{ "restartCount": 0, "state": { "terminated": state } }] })
}

#[test]
fn one_container() {
    let mut terminating = one("terminating", running(0, true));
    terminating["metadata"]["deletionTimestamp"] = json!("2024-01-01T23:59:59Z");
    let mut ended = one("ended-and-deleted", terminated("Succeeded", json!({ "reason": "Completed", "exitCode": 0 })));
    ended["metadata"]["deletionTimestamp"] = json!("2024-01-01T23:59:59Z");
    let mut lost = one("lost", json!({ "phase": "Running", "reason": "NodeLost" }));
    lost["metadata"]["deletionTimestamp"] = json!("2024-01-01T23:59:59Z");
    let gated = json!({ "phase": "Pending", "conditions": [{ "type": "PodScheduled", "reason": "SchedulingGated" }] });
    check(
        &POD,
        &[
            pod("pending", json!({ "containers": [{ "name": "c" }] }), json!({ "phase": "Pending" })),
            pod("gated", json!({ "containers": [{ "name": "c" }] }), gated),
            one("creating", waiting("ContainerCreating")),
            one("no-image", waiting("ErrImagePull")),
            one("backing-off", waiting("ImagePullBackOff")),
            one("crashing", waiting("CrashLoopBackOff")),
            one("running", running(0, true)),
            one("not-ready", running(0, false)),
            one("restarted", running(1, true)),
            one("completed", terminated("Succeeded", json!({ "reason": "Completed", "exitCode": 0 }))),
            one("failed", terminated("Failed", json!({ "reason": "Error", "exitCode": 1 }))),
            one("killed", terminated("Failed", json!({ "reason": "OOMKilled", "exitCode": 137 }))),
            one("exit-code", terminated("Failed", json!({ "exitCode": 3 }))),
            one("signal", terminated("Failed", json!({ "exitCode": 137, "signal": 9 }))),
            one("evicted", json!({ "phase": "Failed", "reason": "Evicted" })),
            terminating,
            ended,
            lost,
        ],
        expect![[r#"
            NAME                READY   STATUS              RESTARTS     AGE   IP         NODE     NOMINATED NODE   READINESS GATES
            pending             0/1     Pending             0            5m    <none>     <none>   <none>           <none>
            gated               0/1     SchedulingGated     0            5m    <none>     <none>   <none>           <none>
            creating            0/1     ContainerCreating   0            5m    <none>     node-1   <none>           <none>
            no-image            0/1     ErrImagePull        0            5m    <none>     node-1   <none>           <none>
            backing-off         0/1     ImagePullBackOff    0            5m    <none>     node-1   <none>           <none>
            crashing            0/1     CrashLoopBackOff    0            5m    <none>     node-1   <none>           <none>
            running             1/1     Running             0            5m    10.1.0.5   node-1   <none>           <none>
            not-ready           0/1     Running             0            5m    10.1.0.5   node-1   <none>           <none>
            restarted           1/1     Running             1 (5s ago)   5m    10.1.0.5   node-1   <none>           <none>
            completed           0/1     Completed           0            5m    <none>     node-1   <none>           <none>
            failed              0/1     Error               0            5m    <none>     node-1   <none>           <none>
            killed              0/1     OOMKilled           0            5m    <none>     node-1   <none>           <none>
            exit-code           0/1     ExitCode:3          0            5m    <none>     node-1   <none>           <none>
            signal              0/1     Signal:9            0            5m    <none>     node-1   <none>           <none>
            evicted             0/1     Evicted             0            5m    <none>     node-1   <none>           <none>
            terminating         1/1     Terminating         0            5m    10.1.0.5   node-1   <none>           <none>
            ended-and-deleted   0/1     Completed           0            5m    <none>     node-1   <none>           <none>
            lost                0/1     Unknown             0            5m    <none>     node-1   <none>           <none>
        "#]],
    );
}

fn with_init(name: &str, init: &[Value], statuses: Value, status: Value) -> Value {
    let mut status = status;
    status["initContainerStatuses"] = statuses;
    pod(name, json!({ "containers": [{ "name": "c" }], "initContainers": init }), status)
}

#[test]
fn init_containers() {
    let init = [json!({ "name": "a" }), json!({ "name": "b" })];
    let done = json!({ "name": "a", "restartCount": 0, "state": { "terminated": { "exitCode": 0, "reason": "Completed" } } });
    let second = |state: Value| json!([done, { "name": "b", "restartCount": 2, "state": state }]);
    let pending = || waiting("PodInitializing");
    check(
        &POD,
        &[
            with_init(
                "first",
                &init,
                json!([{ "name": "a", "state": { "running": {} } }, { "name": "b", "state": { "waiting": {} } }]),
                pending(),
            ),
            with_init("second", &init, second(json!({ "waiting": { "reason": "PodInitializing" } })), pending()),
            with_init("backing-off", &init, second(json!({ "waiting": { "reason": "CrashLoopBackOff" } })), pending()),
            with_init("error", &init, second(json!({ "terminated": { "exitCode": 1, "reason": "Error" } })), pending()),
            with_init("exit-code", &init, second(json!({ "terminated": { "exitCode": 7 } })), pending()),
            with_init("signal", &init, second(json!({ "terminated": { "exitCode": 137, "signal": 9 } })), pending()),
            with_init("both-done", &init, json!([done, done]), pending()),
            with_init("running", &init, json!([done, done]), running(0, true)),
        ],
        expect![[r#"
            NAME          READY   STATUS                  RESTARTS   AGE   IP         NODE     NOMINATED NODE   READINESS GATES
            first         0/1     Init:0/2                0          5m    <none>     <none>   <none>           <none>
            second        0/1     Init:1/2                2          5m    <none>     <none>   <none>           <none>
            backing-off   0/1     Init:CrashLoopBackOff   2          5m    <none>     <none>   <none>           <none>
            error         0/1     Init:Error              2          5m    <none>     <none>   <none>           <none>
            exit-code     0/1     Init:ExitCode:7         2          5m    <none>     <none>   <none>           <none>
            signal        0/1     Init:Signal:9           2          5m    <none>     <none>   <none>           <none>
            both-done     0/1     PodInitializing         0          5m    <none>     <none>   <none>           <none>
            running       1/1     Running                 0          5m    10.1.0.5   <none>   <none>           <none>
        "#]],
    );
}

#[test]
fn sidecars_count_as_containers() {
    let init = [json!({ "name": "proxy", "restartPolicy": "Always" }), json!({ "name": "setup" })];
    let proxy = json!({ "name": "proxy", "restartCount": 3, "started": true, "ready": true, "state": { "running": {} } });
    let setup = |state: Value| json!({ "name": "setup", "restartCount": 5, "state": state });
    check(
        &POD,
        &[
            with_init(
                "starting",
                &init,
                json!([{ "name": "proxy", "started": false, "state": { "running": {} } }]),
                waiting("PodInitializing"),
            ),
            with_init("setting-up", &init, json!([proxy, setup(json!({ "running": {} }))]), waiting("PodInitializing")),
            with_init("running", &init, json!([proxy, setup(json!({ "terminated": { "exitCode": 0 } }))]), running(1, true)),
        ],
        expect![[r#"
            NAME         READY   STATUS     RESTARTS     AGE   IP         NODE     NOMINATED NODE   READINESS GATES
            starting     0/2     Init:0/2   0            5m    <none>     <none>   <none>           <none>
            setting-up   1/2     Init:1/2   8            5m    <none>     <none>   <none>           <none>
            running      2/2     Running    4 (5s ago)   5m    10.1.0.5   <none>   <none>           <none>
        "#]],
    );
}

#[test]
fn two_containers_and_readiness_gates() {
    let spec = json!({
        "nodeName": "node-1", "containers": [{ "name": "c" }, { "name": "d" }],
        "readinessGates": [{ "conditionType": "example.com/a" }, { "conditionType": "example.com/b" }],
    });
    let status = |ready: &str| {
        json!({
            "phase": "Running", "nominatedNodeName": "node-2",
            "conditions": [{ "type": "Ready", "status": ready }, { "type": "example.com/a", "status": "True" }],
            "containerStatuses": [
                { "restartCount": 0, "state": { "terminated": { "exitCode": 0, "reason": "Completed" } } },
                { "restartCount": 0, "ready": true, "state": { "running": {} } },
            ],
        })
    };
    check(
        &POD,
        &[pod("one-completed", spec.clone(), status("True")), pod("one-not-ready", spec, status("False"))],
        expect![[r#"
            NAME            READY   STATUS     RESTARTS   AGE   IP       NODE     NOMINATED NODE   READINESS GATES
            one-completed   1/2     Running    0          5m    <none>   node-1   node-2           1/2
            one-not-ready   1/2     NotReady   0          5m    <none>   node-1   node-2           1/2
        "#]],
    );
}
