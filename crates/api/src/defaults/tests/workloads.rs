//! Deployments, stateful sets and daemon sets.

use expect_test::expect;
use serde_json::json;

use super::check;

#[test]
fn deployment() {
    check(
        "apps",
        "Deployment",
        json!({ "spec": {
            "replicas": 0,
            "strategy": { "rollingUpdate": { "maxSurge": 0 } },
            "template": { "spec": { "hostNetwork": true, "containers": [{
                "name": "web", "image": "nginx", "ports": [{ "containerPort": 80 }],
                "resources": { "limits": { "cpu": 0.5, "memory": "2048Mi" } },
                "readinessProbe": { "httpGet": { "port": 80 }, "timeoutSeconds": 5 },
                "lifecycle": { "preStop": { "httpGet": { "port": "http", "path": "/bye" } } },
                "env": [{ "name": "IP", "valueFrom": { "fieldRef": { "fieldPath": "status.podIP" } } }],
            }] } },
        } }),
        expect![[r#"
            spec.progressDeadlineSeconds = 600
            spec.revisionHistoryLimit = 10
            spec.strategy.rollingUpdate.maxUnavailable = "25%"
            spec.strategy.type = "RollingUpdate"
            spec.template.metadata = {}
            spec.template.spec.containers[0].env[0].valueFrom.fieldRef.apiVersion = "v1"
            spec.template.spec.containers[0].imagePullPolicy = "Always"
            spec.template.spec.containers[0].lifecycle.preStop.httpGet.scheme = "HTTP"
            spec.template.spec.containers[0].ports[0].protocol = "TCP"
            spec.template.spec.containers[0].readinessProbe.failureThreshold = 3
            spec.template.spec.containers[0].readinessProbe.httpGet.path = "/"
            spec.template.spec.containers[0].readinessProbe.httpGet.scheme = "HTTP"
            spec.template.spec.containers[0].readinessProbe.periodSeconds = 10
            spec.template.spec.containers[0].readinessProbe.successThreshold = 1
            spec.template.spec.containers[0].resources.limits.cpu = "500m"
            spec.template.spec.containers[0].resources.limits.memory = "2Gi"
            spec.template.spec.containers[0].terminationMessagePath = "/dev/termination-log"
            spec.template.spec.containers[0].terminationMessagePolicy = "File"
            spec.template.spec.dnsPolicy = "ClusterFirst"
            spec.template.spec.restartPolicy = "Always"
            spec.template.spec.schedulerName = "default-scheduler"
            spec.template.spec.securityContext = {}
            spec.template.spec.terminationGracePeriodSeconds = 30
            status = {}
        "#]],
    );
}

#[test]
fn recreate_has_no_rolling_update() {
    check(
        "apps",
        "Deployment",
        json!({ "spec": { "strategy": { "type": "Recreate" } } }),
        expect![[r#"
        spec.progressDeadlineSeconds = 600
        spec.replicas = 1
        spec.revisionHistoryLimit = 10
        spec.template.metadata = {}
        spec.template.spec.dnsPolicy = "ClusterFirst"
        spec.template.spec.restartPolicy = "Always"
        spec.template.spec.schedulerName = "default-scheduler"
        spec.template.spec.securityContext = {}
        spec.template.spec.terminationGracePeriodSeconds = 30
        status = {}
    "#]],
    );
}

#[test]
fn stateful_set_and_daemon_set() {
    check(
        "apps",
        "StatefulSet",
        json!({ "spec": { "updateStrategy": { "type": "RollingUpdate" }, "volumeClaimTemplates": [{ "metadata": { "name": "data" } }] } }),
        expect![[r#"
            spec.persistentVolumeClaimRetentionPolicy.whenDeleted = "Retain"
            spec.persistentVolumeClaimRetentionPolicy.whenScaled = "Retain"
            spec.podManagementPolicy = "OrderedReady"
            spec.replicas = 1
            spec.revisionHistoryLimit = 10
            spec.template.metadata = {}
            spec.template.spec.dnsPolicy = "ClusterFirst"
            spec.template.spec.restartPolicy = "Always"
            spec.template.spec.schedulerName = "default-scheduler"
            spec.template.spec.securityContext = {}
            spec.template.spec.terminationGracePeriodSeconds = 30
            spec.volumeClaimTemplates[0].apiVersion = "v1"
            spec.volumeClaimTemplates[0].kind = "PersistentVolumeClaim"
            spec.volumeClaimTemplates[0].spec.resources = {}
            spec.volumeClaimTemplates[0].spec.volumeMode = "Filesystem"
            spec.volumeClaimTemplates[0].status.phase = "Pending"
            status.availableReplicas = 0
            status.replicas = 0
        "#]],
    );
    check(
        "apps",
        "StatefulSet",
        json!({}),
        expect![[r#"
        spec.persistentVolumeClaimRetentionPolicy.whenDeleted = "Retain"
        spec.persistentVolumeClaimRetentionPolicy.whenScaled = "Retain"
        spec.podManagementPolicy = "OrderedReady"
        spec.replicas = 1
        spec.revisionHistoryLimit = 10
        spec.template.metadata = {}
        spec.template.spec.dnsPolicy = "ClusterFirst"
        spec.template.spec.restartPolicy = "Always"
        spec.template.spec.schedulerName = "default-scheduler"
        spec.template.spec.securityContext = {}
        spec.template.spec.terminationGracePeriodSeconds = 30
        spec.updateStrategy.rollingUpdate.partition = 0
        spec.updateStrategy.type = "RollingUpdate"
        status.availableReplicas = 0
        status.replicas = 0
    "#]],
    );
    check(
        "apps",
        "DaemonSet",
        json!({}),
        expect![[r#"
        spec.revisionHistoryLimit = 10
        spec.template.metadata = {}
        spec.template.spec.dnsPolicy = "ClusterFirst"
        spec.template.spec.restartPolicy = "Always"
        spec.template.spec.schedulerName = "default-scheduler"
        spec.template.spec.securityContext = {}
        spec.template.spec.terminationGracePeriodSeconds = 30
        spec.updateStrategy.rollingUpdate.maxSurge = 0
        spec.updateStrategy.rollingUpdate.maxUnavailable = 1
        spec.updateStrategy.type = "RollingUpdate"
        status.currentNumberScheduled = 0
        status.desiredNumberScheduled = 0
        status.numberMisscheduled = 0
        status.numberReady = 0
    "#]],
    );
}
