//! Autoscalers, jobs, ingresses and network policies.

use expect_test::expect;
use serde_json::{Value, json};

use super::{create, update};

fn autoscaler(version: &str, spec: Value) -> Value {
    json!({ "apiVersion": format!("autoscaling/{version}"), "metadata": { "name": "web" }, "spec": spec })
}

fn job(restart_policy: &str) -> Value {
    json!({ "metadata": { "name": "once" }, "spec": {
        "selector": { "matchLabels": { "a": "b" } },
        "template": { "metadata": { "labels": { "a": "b" } }, "spec": {
            "restartPolicy": restart_policy, "containers": [{ "name": "main", "image": "busybox" }],
        } },
    } })
}

#[test]
fn autoscalers() {
    create(
        "autoscaling",
        "HorizontalPodAutoscaler",
        autoscaler("v2", json!({ "minReplicas": 0, "scaleTargetRef": { "kind": "a/b", "apiVersion": "a/b/c" } })),
        expect![[r#"
            spec.minReplicas: Invalid value: 0: must be greater than or equal to 1
            spec.maxReplicas: Invalid value: 0: must be greater than 0
            spec.scaleTargetRef.kind: Invalid value: "a/b": may not contain '/'
            spec.scaleTargetRef.name: Required value
            spec.scaleTargetRef.apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c
        "#]],
    );
    let target = json!({ "kind": "Deployment", "name": "web" });
    create(
        "autoscaling",
        "HorizontalPodAutoscaler",
        autoscaler("v1", json!({ "maxReplicas": 3, "scaleTargetRef": target, "targetCPUUtilizationPercentage": 0 })),
        expect![[r#"
            spec.metrics[0].resource.target.averageUtilization: Invalid value: 0: must be greater than 0
        "#]],
    );
    create(
        "autoscaling",
        "HorizontalPodAutoscaler",
        autoscaler(
            "v2",
            json!({
                "maxReplicas": 3, "scaleTargetRef": target,
                "metrics": [
                    { "type": "Pods" },
                    { "type": "Resource", "resource": { "target": { "type": "Percent", "averageValue": "0" } }, "pods": {
                        "metric": {}, "target": { "type": "Value" },
                    } },
                    { "type": "External", "external": { "metric": { "name": "a/b" }, "target": { "type": "Value", "value": "1", "averageValue": "1" } } },
                ],
                "behavior": { "scaleUp": { "selectPolicy": "Most", "policies": [{ "type": "Pods", "value": 0, "periodSeconds": 1801 }] },
                    "scaleDown": { "stabilizationWindowSeconds": 3601, "policies": [] } },
            }),
        ),
        expect![[r#"
            spec.metrics[0].pods: Required value: must populate information for the given metric source
            spec.metrics[1].pods.metric.name: Required value: must specify a metric name
            spec.metrics[1].pods.target.averageValue: Required value: must specify a positive target averageValue
            spec.metrics[1].pods: Forbidden: must populate the given metric source only
            spec.metrics[2].external.metric.name: Invalid value: "a/b": may not contain '/'
            spec.metrics[2].external.target.value: Forbidden: may not set both a target value for metric and a per-pod target
            spec.behavior.scaleUp.selectPolicy: Unsupported value: "Most": supported values: "Disabled", "Max", "Min"
            spec.behavior.scaleUp.policies[0].value: Invalid value: 0: must be greater than zero
            spec.behavior.scaleUp.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800
            spec.behavior.scaleDown.stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal to 3600
            spec.behavior.scaleDown.policies: Required value: must specify at least one Policy
        "#]],
    );
}

#[test]
fn jobs() {
    create(
        "batch",
        "Job",
        job("Always"),
        expect![[r#"
            spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"
        "#]],
    );
    update(
        "batch",
        "Job",
        job("Never"),
        |job| {
            job["spec"]["parallelism"] = json!(3);
            job["spec"]["completions"] = json!(3);
            job["spec"]["backoffLimit"] = json!(-1);
        },
        expect![[r#"
            spec.backoffLimit: Invalid value: -1: must be greater than or equal to 0
            spec.completions: Invalid value: 3: field is immutable
        "#]],
    );
    for (schedule, wrong) in [
        ("*/5 0-3,7 ? jan-mar mon", ""),
        ("@hourly", ""),
        ("@often", "spec.schedule: Invalid value: \"@often\": unrecognized descriptor: @often\n"),
        ("* * *", "spec.schedule: Invalid value: \"* * *\": expected exactly 5 fields, found 3: [* * *]\n"),
        ("60 * * * *", "spec.schedule: Invalid value: \"60 * * * *\": end of range (60) above maximum (59): 60\n"),
        ("* 5-3 * * *", "spec.schedule: Invalid value: \"* 5-3 * * *\": beginning of range (5) beyond end of range (3): 5-3\n"),
        ("*/0 * * * *", "spec.schedule: Invalid value: \"*/0 * * * *\": step of range should be a positive number: */0\n"),
    ] {
        let spec = job("Never")["spec"].clone();
        let mut cron_job =
            json!({ "metadata": { "name": "often" }, "spec": { "schedule": schedule, "jobTemplate": { "spec": spec } } });
        crate::defaults::apply("batch", "CronJob", &mut cron_job);
        assert_eq!(super::lines(&super::super::create("batch", "CronJob", &cron_job)), wrong);
    }
}

#[test]
fn ingresses_and_policies() {
    let backend = json!({ "service": { "name": "web", "port": { "number": 80 } } });
    create(
        "networking.k8s.io",
        "Ingress",
        json!({ "metadata": { "name": "web" }, "spec": { "rules": [
            { "host": "*.a.b", "http": { "paths": [{ "path": "/", "pathType": "Prefix", "backend": backend }] } },
            { "host": "10.0.0.1", "http": { "paths": [{ "path": "a//", "pathType": "Exact", "backend": {} }, { "path": "/" }] } },
        ] } }),
        expect![[r#"
            spec.rules[1].host: Invalid value: "10.0.0.1": must be a DNS name, not an IP address
            spec.rules[1].http.paths[0].path: Invalid value: "a//": must be an absolute path
            spec.rules[1].http.paths[0].path: Invalid value: "a//": must not contain '//'
            spec.rules[1].http.paths[0].backend: Required value: either service or resource must be specified
            spec.rules[1].http.paths[1].pathType: Required value: pathType must be specified
        "#]],
    );
    create(
        "networking.k8s.io",
        "NetworkPolicy",
        json!({ "metadata": { "name": "deny" }, "spec": { "policyTypes": ["Out"], "ingress": [
            { "ports": [{ "port": 70000, "protocol": "X" }, { "endPort": 3 }], "from": [{}, { "podSelector": {}, "ipBlock": {} }] },
        ] } }),
        expect![[r#"
            spec.ingress[0].ports[0].protocol: Unsupported value: "X": supported values: "SCTP", "TCP", "UDP"
            spec.ingress[0].ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive
            spec.ingress[0].ports[1].port: Required value: must be specified when endPort is specified
            spec.ingress[0].from[0]: Required value: must specify a peer
            spec.ingress[0].from[1]: Forbidden: may not specify both ipBlock and another peer
            spec.policyTypes[0]: Unsupported value: "Out": supported values: "Egress", "Ingress"
        "#]],
    );
}
