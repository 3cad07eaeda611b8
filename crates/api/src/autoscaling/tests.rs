//! Nothing is lost on the way there and back.

use serde_json::{Value, json};

use super::{from_v2, to_v2};

fn hpa(spec: Value, status: Value) -> Value {
    json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": { "name": "web", "annotations": { "team": "a" } }, "spec": spec, "status": status,
    })
}

fn target() -> Value {
    json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" })
}

#[test]
fn a_percentage_of_the_cpu_is_a_field_of_its_own() {
    let metric = json!({ "type": "Resource", "resource": { "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 70 } } });
    let spec = json!({ "scaleTargetRef": target(), "minReplicas": 2, "maxReplicas": 3, "metrics": [metric] });
    let newer = hpa(spec, json!({ "currentMetrics": null, "desiredReplicas": 0 }));
    let older = from_v2(&newer);
    assert_eq!(
        older["spec"],
        json!({ "scaleTargetRef": target(), "minReplicas": 2, "maxReplicas": 3, "targetCPUUtilizationPercentage": 70 })
    );
    assert_eq!(older["metadata"]["annotations"], json!({ "team": "a" }));
    assert_eq!(older["status"], json!({ "currentReplicas": 0, "desiredReplicas": 0 }));
    assert_eq!(to_v2(&older)["spec"], newer["spec"]);
}

#[test]
fn without_metrics_the_cpu_is_kept_at_the_default() {
    let older = json!({ "apiVersion": "autoscaling/v1", "metadata": { "name": "web" }, "spec": { "maxReplicas": 3 } });
    let newer = to_v2(&older);
    assert_eq!(newer["spec"]["metrics"][0]["resource"]["target"], json!({ "type": "Utilization", "averageUtilization": 80 }));
    assert_eq!(newer["apiVersion"], "autoscaling/v2");
}

#[test]
fn every_source_survives_in_annotations() {
    let selector = json!({ "matchLabels": { "verb": "GET" } });
    let metrics = json!([
        { "type": "Resource", "resource": { "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 60 } } },
        { "type": "Resource", "resource": { "name": "memory", "target": { "type": "AverageValue", "averageValue": "1Gi" } } },
        { "type": "ContainerResource", "containerResource": {
            "name": "cpu", "container": "web", "target": { "type": "Utilization", "averageUtilization": 50 },
        } },
        { "type": "Pods", "pods": {
            "metric": { "name": "rps", "selector": selector }, "target": { "type": "AverageValue", "averageValue": "1k" },
        } },
        { "type": "Object", "object": {
            "describedObject": { "kind": "Service", "name": "web" }, "metric": { "name": "hits" },
            "target": { "type": "Value", "value": "10" },
        } },
        { "type": "Object", "object": {
            "describedObject": { "kind": "Service", "name": "web" }, "metric": { "name": "hits" },
            "target": { "type": "AverageValue", "averageValue": "10" },
        } },
        { "type": "External", "external": {
            "metric": { "name": "queue", "selector": selector }, "target": { "type": "Value", "value": "30" },
        } },
        { "type": "External", "external": { "metric": { "name": "queue" }, "target": { "type": "AverageValue", "averageValue": "3" } } },
    ]);
    let current = json!([
        { "type": "Resource", "resource": { "name": "cpu", "current": { "averageUtilization": 40, "averageValue": "40m" } } },
        { "type": "Pods", "pods": { "metric": { "name": "rps" }, "current": { "averageValue": "900" } } },
        { "type": "" },
    ]);
    let rules = json!({ "stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [{ "type": "Pods", "value": 4, "periodSeconds": 15 }] });
    let behavior = json!({ "scaleUp": rules, "scaleDown": { "selectPolicy": "Disabled", "policies": [], "tolerance": "50m" } });
    let conditions = json!([{ "type": "AbleToScale", "status": "True", "reason": "SucceededGetScale" }]);
    let newer = hpa(
        json!({ "scaleTargetRef": target(), "maxReplicas": 3, "metrics": metrics, "behavior": behavior }),
        json!({ "currentReplicas": 1, "desiredReplicas": 1, "currentMetrics": current, "conditions": conditions }),
    );
    let older = from_v2(&newer);
    let annotations = older["metadata"]["annotations"].as_object().unwrap();
    assert_eq!(annotations.len(), 5);
    let carried: Value = serde_json::from_str(annotations["autoscaling.alpha.kubernetes.io/behavior"].as_str().unwrap()).unwrap();
    assert_eq!(carried["ScaleUp"]["Policies"], json!([{ "Type": "Pods", "Value": 4, "PeriodSeconds": 15 }]));
    assert_eq!(older["status"]["currentCPUUtilizationPercentage"], 40);
    assert_eq!(to_v2(&older), newer);
}

#[test]
fn what_is_no_object_is_left_alone() {
    for odd in [json!(null), json!([]), json!("x"), json!({ "spec": 1, "status": [], "metadata": 3 })] {
        let _ = (to_v2(&odd), from_v2(&odd));
    }
    let odd =
        json!({ "metadata": { "annotations": { "autoscaling.alpha.kubernetes.io/metrics": "{" } }, "spec": { "metrics": 3 } });
    assert_eq!(to_v2(&odd)["spec"]["metrics"][0]["type"], "Resource");
}
