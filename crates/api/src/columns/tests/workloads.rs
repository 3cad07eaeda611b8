//! The workloads, and what they are made from.

use expect_test::expect;
use serde_json::{Value, json};

use super::check;
use crate::kind::{apps, core, policy};

fn template() -> Value {
    json!({
        "metadata": { "labels": { "tier": "front", "app": "web" } },
        "spec": {
            "nodeSelector": { "disk": "ssd" },
            "containers": [{ "name": "nginx", "image": "nginx:1.16.1" }, { "name": "log", "image": "busybox" }],
        },
    })
}

fn selector() -> Value {
    json!({ "matchLabels": { "app": "web" }, "matchExpressions": [{ "key": "old", "operator": "DoesNotExist" }] })
}

#[test]
fn workloads() {
    let status = json!({ "replicas": 4, "readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 1 });
    let web = json!({
        "metadata": { "name": "web" }, "status": status,
        "spec": { "replicas": 3, "selector": selector(), "template": template() },
    });
    let new = json!({ "metadata": { "name": "new" }, "spec": { "replicas": 0, "selector": { "matchLabels": {} } } });
    check(
        &apps::DEPLOYMENT,
        &[web.clone(), new.clone()],
        expect![[r#"
        NAME   READY   UP-TO-DATE   AVAILABLE   AGE   CONTAINERS   IMAGES                 SELECTOR
        web    2/3     3            1           5m    nginx,log    nginx:1.16.1,busybox   app=web,!old
        new    0/0     0            0           5m                                        
    "#]],
    );
    check(
        &apps::REPLICA_SET,
        &[web.clone(), new.clone()],
        expect![[r#"
        NAME   DESIRED   CURRENT   READY   AGE   CONTAINERS   IMAGES                 SELECTOR
        web    3         4         2       5m    nginx,log    nginx:1.16.1,busybox   app=web,!old
        new    0         0         0       5m                                        <none>
    "#]],
    );
    check(
        &apps::STATEFUL_SET,
        &[web, new],
        expect![[r#"
        NAME   READY   AGE   CONTAINERS   IMAGES
        web    2/3     5m    nginx,log    nginx:1.16.1,busybox
        new    0/0     5m                 
    "#]],
    );
}

#[test]
fn daemon_sets_and_revisions() {
    let agent = json!({
        "metadata": { "name": "agent" }, "spec": { "selector": selector(), "template": template() },
        "status": {
            "desiredNumberScheduled": 5, "currentNumberScheduled": 4, "numberReady": 3, "updatedNumberScheduled": 2,
            "numberAvailable": 1,
        },
    });
    check(
        &apps::DAEMON_SET,
        &[agent, json!({ "metadata": { "name": "new" } })],
        expect![[r#"
        NAME    DESIRED   CURRENT   READY   UP-TO-DATE   AVAILABLE   NODE SELECTOR   AGE   CONTAINERS   IMAGES                 SELECTOR
        agent   5         4         3       2            1           disk=ssd        5m    nginx,log    nginx:1.16.1,busybox   app=web,!old
        new     0         0         0       0            0           <none>          5m                                        <none>
    "#]],
    );
    let owner = json!({ "apiVersion": "apps/v1", "kind": "DaemonSet", "name": "agent", "controller": true });
    check(
        &apps::CONTROLLER_REVISION,
        &[
            json!({ "metadata": { "name": "agent-5d8f", "ownerReferences": [owner] }, "revision": 2 }),
            json!({ "metadata": { "name": "orphan" }, "revision": 1 }),
        ],
        expect![[r#"
            NAME         CONTROLLER             REVISION   AGE
            agent-5d8f   daemonset.apps/agent   2          5m
            orphan       <none>                 1          5m
        "#]],
    );
}

#[test]
fn older_workloads() {
    let web = json!({
        "metadata": { "name": "web" }, "spec": { "replicas": 2, "selector": { "b": "2", "a": "1" }, "template": template() },
        "status": { "replicas": 2, "readyReplicas": 1 },
    });
    check(
        &core::REPLICATION_CONTROLLER,
        &[web],
        expect![[r#"
        NAME   DESIRED   CURRENT   READY   AGE   CONTAINERS   IMAGES                 SELECTOR
        web    2         2         1       5m    nginx,log    nginx:1.16.1,busybox   a=1,b=2
    "#]],
    );
    check(
        &core::POD_TEMPLATE,
        &[json!({ "metadata": { "name": "web" }, "template": template() })],
        expect![[r#"
        NAME   CONTAINERS   IMAGES                 POD LABELS
        web    nginx,log    nginx:1.16.1,busybox   app=web,tier=front
    "#]],
    );
    check(
        &policy::POD_DISRUPTION_BUDGET,
        &[
            json!({ "metadata": { "name": "a" }, "spec": { "minAvailable": "50%" }, "status": { "disruptionsAllowed": 1 } }),
            json!({ "metadata": { "name": "b" }, "spec": { "maxUnavailable": 1 } }),
        ],
        expect![[r#"
            NAME   MIN AVAILABLE   MAX UNAVAILABLE   ALLOWED DISRUPTIONS   AGE
            a      50%             N/A               1                     5m
            b      N/A             1                 0                     5m
        "#]],
    );
}
