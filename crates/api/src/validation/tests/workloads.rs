//! Deployment, ReplicaSet, StatefulSet, DaemonSet, ReplicationController, ControllerRevision.

use expect_test::expect;
use serde_json::json;

use super::{create, deployment, update};

#[test]
fn a_good_deployment_has_no_errors() {
    create("apps", "Deployment", deployment(|_| {}), expect![[r#""#]]);
}

#[test]
fn deployment_selector_and_template() {
    create(
        "apps",
        "Deployment",
        json!({}),
        expect![[r#"
        spec.selector: Required value
        spec.template.metadata.labels: Invalid value: null: `selector` does not match template `labels`
        spec.template.spec.containers: Required value
    "#]],
    );
    create(
        "apps",
        "Deployment",
        deployment(|spec| spec["selector"] = json!({})),
        expect![[r#"
        spec.selector: Invalid value: {}: empty selector is invalid for deployment
    "#]],
    );
    create(
        "apps",
        "Deployment",
        deployment(|spec| spec["template"]["metadata"]["labels"] = json!({ "app": "x" })),
        expect![[r#"
            spec.template.metadata.labels: Invalid value: {"app":"x"}: `selector` does not match template `labels`
        "#]],
    );
    create(
        "apps",
        "Deployment",
        deployment(|spec| {
            spec["selector"] = json!({ "matchExpressions": [
                { "key": "app", "operator": "In" },
                { "key": "bad key", "operator": "Exists", "values": ["x"] },
                { "key": "app", "operator": "Is" },
            ] });
        }),
        expect![[r#"
            spec.selector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'
            spec.selector.matchExpressions[1].values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'
            spec.selector.matchExpressions[1].key: Invalid value: "bad key": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            spec.selector.matchExpressions[2].operator: Invalid value: "Is": not a valid selector operator
            spec.selector: Invalid value: {"matchExpressions":[{"key":"app","operator":"In"},{"key":"bad key","operator":"Exists","values":["x"]},{"key":"app","operator":"Is"}]}: invalid label selector
        "#]],
    );
    create(
        "apps",
        "Deployment",
        deployment(|spec| spec["template"]["spec"]["restartPolicy"] = json!("Never")),
        expect![[r#"
        spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"
    "#]],
    );
    create(
        "apps",
        "Deployment",
        deployment(|spec| spec["template"]["spec"]["activeDeadlineSeconds"] = json!(5)),
        expect![[r#"
            spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported
        "#]],
    );
}

#[test]
fn deployment_numbers() {
    create(
        "apps",
        "Deployment",
        deployment(|spec| {
            spec["replicas"] = json!(-1);
            spec["minReadySeconds"] = json!(-1);
            spec["revisionHistoryLimit"] = json!(-1);
            spec["progressDeadlineSeconds"] = json!(-2);
        }),
        expect![[r#"
            spec.replicas: Invalid value: -1: must be greater than or equal to 0
            spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0
            spec.revisionHistoryLimit: Invalid value: -1: must be greater than or equal to 0
            spec.progressDeadlineSeconds: Invalid value: -2: must be greater than or equal to 0
            spec.progressDeadlineSeconds: Invalid value: -2: must be greater than minReadySeconds
        "#]],
    );
    create(
        "apps",
        "Deployment",
        deployment(|spec| spec["minReadySeconds"] = json!(600)),
        expect![[r#"
        spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds
    "#]],
    );
}

#[test]
fn deployment_strategy() {
    for (unavailable, surge, expected) in [
        (
            json!(0),
            json!(0),
            expect![[r#"
            spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0
        "#]],
        ),
        (
            json!("0%"),
            json!("0%"),
            expect![[r#"
            spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "0%": may not be 0 when `maxSurge` is 0
        "#]],
        ),
        (
            json!(-1),
            json!("x"),
            expect![[r#"
            spec.strategy.rollingUpdate.maxUnavailable: Invalid value: -1: must be greater than or equal to 0
            spec.strategy.rollingUpdate.maxSurge: Invalid value: "x": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')
        "#]],
        ),
        (
            json!("101%"),
            json!("200%"),
            expect![[r#"
            spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "101%": must not be greater than 100%
        "#]],
        ),
    ] {
        let rolling_update = json!({ "maxUnavailable": unavailable, "maxSurge": surge });
        create(
            "apps",
            "Deployment",
            deployment(|spec| spec["strategy"] = json!({ "type": "RollingUpdate", "rollingUpdate": rolling_update })),
            expected,
        );
    }
    create(
        "apps",
        "Deployment",
        deployment(|spec| spec["strategy"] = json!({ "type": "Recreate", "rollingUpdate": { "maxSurge": 1 } })),
        expect![[r#"
            spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'
        "#]],
    );
    create(
        "apps",
        "Deployment",
        deployment(|spec| spec["strategy"] = json!({ "type": "Canary" })),
        expect![[r#"
            spec.strategy: Unsupported value: {"Type":"Canary","RollingUpdate":null}: supported values: "Recreate", "RollingUpdate"
        "#]],
    );
}

#[test]
fn selectors_are_immutable() {
    for kind in ["Deployment", "ReplicaSet", "DaemonSet"] {
        update(
            "apps",
            kind,
            deployment(|_| {}),
            |object| {
                object["spec"]["selector"]["matchLabels"]["app"] = json!("other");
                object["spec"]["template"]["metadata"]["labels"]["app"] = json!("other");
            },
            expect![[r#"
                spec.selector: Invalid value: {"matchLabels":{"app":"other"}}: field is immutable
            "#]],
        );
    }
    update(
        "apps",
        "Deployment",
        deployment(|_| {}),
        |object| object["spec"]["template"]["spec"]["containers"][0]["image"] = json!("nginx:2"),
        expect![[r#""#]],
    );
}

#[test]
fn daemon_set_strategy() {
    for (unavailable, surge, expected) in [
        (
            json!(1),
            json!(1),
            expect![[r#"
            spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero
        "#]],
        ),
        (
            json!(0),
            json!(0),
            expect![[r#"
            spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0
        "#]],
        ),
        (
            json!("150%"),
            json!(0),
            expect![[r#"
            spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: "150%": must not be greater than 100%
        "#]],
        ),
    ] {
        let rolling_update = json!({ "maxUnavailable": unavailable, "maxSurge": surge });
        create(
            "apps",
            "DaemonSet",
            deployment(|spec| spec["updateStrategy"] = json!({ "rollingUpdate": rolling_update })),
            expected,
        );
    }
    create(
        "apps",
        "DaemonSet",
        deployment(|spec| spec["selector"] = json!({})),
        expect![[r#"
        spec.selector: Invalid value: {}: empty selector is invalid for daemonset
    "#]],
    );
}

#[test]
fn stateful_set() {
    create(
        "apps",
        "StatefulSet",
        deployment(|spec| {
            spec["podManagementPolicy"] = json!("Random");
            spec["updateStrategy"] = json!({ "type": "OnDelete", "rollingUpdate": { "partition": 1 } });
            spec["persistentVolumeClaimRetentionPolicy"] = json!({ "whenDeleted": "Keep" });
            spec["ordinals"] = json!({ "start": -1 });
            spec["serviceName"] = json!("Not_Good");
        }),
        expect![[r#"
            spec.podManagementPolicy: Invalid value: "Random": must be 'OrderedReady' or 'Parallel'
            spec.updateStrategy.rollingUpdate: Invalid value: {"partition":1}: only allowed for updateStrategy 'RollingUpdate'
            spec.persistentVolumeClaimRetentionPolicy.whenDeleted: Unsupported value: "Keep": supported values: "Retain", "Delete"
            spec.ordinals.start: Invalid value: -1: must be greater than or equal to 0
            spec.serviceName: Invalid value: "Not_Good": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        "#]],
    );
    create(
        "apps",
        "StatefulSet",
        deployment(|spec| {
            spec["updateStrategy"] = json!({ "type": "RollingUpdate", "rollingUpdate": { "partition": -1, "maxUnavailable": 0 } })
        }),
        expect![[r#"
            spec.updateStrategy.rollingUpdate.partition: Invalid value: -1: must be greater than or equal to 0
            spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: 0: cannot be 0
        "#]],
    );
    update(
        "apps",
        "StatefulSet",
        deployment(|spec| spec["volumeClaimTemplates"] = json!([{ "metadata": { "name": "data" } }])),
        |object| object["spec"]["serviceName"] = json!("other"),
        expect![[r#"
            spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden
        "#]],
    );
    update(
        "apps",
        "StatefulSet",
        deployment(|spec| spec["volumeClaimTemplates"] = json!([{ "metadata": { "name": "data" } }])),
        |object| {
            object["spec"]["replicas"] = json!(5);
            object["spec"]["minReadySeconds"] = json!(5);
            object["spec"]["volumeClaimTemplates"][0]["status"] = json!({});
        },
        expect![[r#""#]],
    );
}

#[test]
fn controllers_of_old() {
    create(
        "",
        "ReplicationController",
        json!({}),
        expect![[r#"
        spec.selector: Required value
        spec.template: Required value
    "#]],
    );
    create(
        "",
        "ReplicationController",
        deployment(|spec| spec["selector"] = json!({ "app": "other" })),
        expect![[r#"
        spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`
    "#]],
    );
    create(
        "apps",
        "ControllerRevision",
        json!({ "revision": -1 }),
        expect![[r#"
        data: Required value: data is mandatory
        revision: Invalid value: -1: must be greater than or equal to 0
    "#]],
    );
    update(
        "apps",
        "ControllerRevision",
        json!({ "revision": 1, "data": { "a": 1 } }),
        |object| object["data"]["a"] = json!(2),
        expect![[r#"
            data: Invalid value: {"a":2}: field is immutable
        "#]],
    );
}

#[test]
fn statuses_count() {
    let old = json!({ "status": { "collisionCount": 2 } });
    let new = json!({ "status": { "replicas": 1, "readyReplicas": 2, "availableReplicas": 3, "updatedReplicas": -1, "collisionCount": 1 } });
    expect![[r#"
        status.updatedReplicas: Invalid value: -1: must be greater than or equal to 0
        status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas
        status.availableReplicas: Invalid value: 3: cannot be greater than status.replicas
        status.availableReplicas: Invalid value: 3: cannot be greater than readyReplicas
        status.collisionCount: Invalid value: 1: cannot be decremented
    "#]]
    .assert_eq(&super::lines(&super::super::status("apps", "Deployment", &new, &old)));
    expect![[r#"
        status.updatedReplicas: Invalid value: -1: must be greater than or equal to 0
        status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas
        status.availableReplicas: Invalid value: 3: cannot be greater than status.replicas
        status.availableReplicas: Invalid value: 3: cannot be greater than status.readyReplicas
        status.collisionCount: Invalid value: 1: cannot be decremented
    "#]]
    .assert_eq(&super::lines(&super::super::status("apps", "StatefulSet", &new, &old)));
    expect![[r#"
        status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas
        status.availableReplicas: Invalid value: 3: cannot be greater than status.replicas
        status.availableReplicas: Invalid value: 3: cannot be greater than readyReplicas
    "#]]
    .assert_eq(&super::lines(&super::super::status("apps", "ReplicaSet", &new, &old)));
}
