//! An autoscaler without metrics, case by case.

use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscaler, HorizontalPodAutoscalerStatus};
use serde_json::json;

use super::{Plan, Reason, Step, Target, done, plan, refused};

fn autoscaler(metrics: serde_json::Value) -> HorizontalPodAutoscaler {
    serde_json::from_value(json!({
        "metadata": { "name": "web", "namespace": "shop" },
        "spec": {
            "minReplicas": 2, "maxReplicas": 5, "metrics": metrics,
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" },
        },
    }))
    .unwrap()
}

fn cpu() -> serde_json::Value {
    json!({ "type": "Resource", "resource": { "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 80 } } })
}

fn scale(replicas: i32) -> Target {
    Target::Scale { replicas, selector: "app=web".to_owned() }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn conditions(status: &HorizontalPodAutoscalerStatus) -> Vec<String> {
    let conditions = status.conditions.iter().flatten();
    conditions.map(|one| format!("{}={} {}", one.type_, one.status, one.reason.as_deref().unwrap_or_default())).collect()
}

fn notes(plan: &Plan) -> Vec<String> {
    plan.notes.iter().map(|note| format!("{}: {}", note.reason, note.message)).collect()
}

#[test]
fn outside_of_its_bounds_a_target_is_brought_inside() {
    for (from, to, reason, text) in [
        (1, 2, Reason::BelowMinReplicas, "New size: 2; reason: Current number of replicas below Spec.MinReplicas"),
        (9, 5, Reason::AboveMaxReplicas, "New size: 5; reason: Current number of replicas above Spec.MaxReplicas"),
    ] {
        let plan = plan(&autoscaler(json!([cpu()])), &scale(from), at(5));
        let step = Step { from, to, reason };
        assert_eq!((plan.step, plan.notes.as_slice()), (Some(step), &[][..]));
        let (status, note) = done(&plan, step, at(7));
        assert_eq!((note.reason, note.message.as_str()), ("SuccessfulRescale", text));
        assert_eq!(conditions(&status), ["AbleToScale=True SucceededRescale"]);
        assert_eq!((status.current_replicas, status.desired_replicas), (Some(from), to));
        assert_eq!(status.last_scale_time.unwrap().0, at(7));
        let (status, note) = refused(&plan, step, "quota", at(7));
        assert_eq!(note.message, format!("{text}; error: quota"));
        assert_eq!(conditions(&status), ["AbleToScale=False FailedUpdateScale"]);
    }
}

#[test]
fn within_its_bounds_it_stays_and_says_why() {
    let plan = plan(&autoscaler(json!([cpu()])), &scale(3), at(5));
    assert_eq!(plan.step, None);
    assert_eq!(
        notes(&plan),
        [
            "FailedGetResourceMetric: failed to get cpu utilization: unable to get metrics for resource cpu: unable to fetch \
             metrics from resource metrics API: the server could not find the requested resource (get pods.metrics.k8s.io)",
            "FailedComputeMetricsReplicas: invalid metrics (1 invalid out of 1), first error is: failed to get cpu resource metric \
             value: failed to get cpu utilization: unable to get metrics for resource cpu: unable to fetch metrics from resource \
             metrics API: the server could not find the requested resource (get pods.metrics.k8s.io)",
        ]
    );
    assert_eq!(conditions(&plan.status), ["AbleToScale=True SucceededGetScale", "ScalingActive=False FailedGetResourceMetric"]);
    assert_eq!(plan.status.current_replicas, Some(3));
    assert_eq!(plan.status.current_metrics.as_ref().map(Vec::len), Some(1));
}

#[test]
fn every_source_has_its_own_words() {
    let average = json!({ "type": "AverageValue", "averageValue": "10" });
    let service = json!({ "kind": "Service", "name": "web" });
    let selector = json!({ "matchLabels": { "queue": "a" } });
    for (metric, reason, error) in [
        (
            json!({ "type": "Resource", "resource": { "name": "memory", "target": average } }),
            "FailedGetResourceMetric",
            "failed to get memory usage: unable to get metrics for resource memory: unable to fetch metrics from resource \
             metrics API: the server could not find the requested resource (get pods.metrics.k8s.io)",
        ),
        (
            json!({ "type": "Pods", "pods": { "metric": { "name": "rps" }, "target": average } }),
            "FailedGetPodsMetric",
            "unable to get metric rps: unable to fetch metrics from custom metrics API: no custom metrics API \
             (custom.metrics.k8s.io) registered",
        ),
        (
            json!({ "type": "Object", "object": { "describedObject": service, "metric": { "name": "hits" }, "target": average } }),
            "FailedGetObjectMetric",
            "unable to get metric hits: Service on shop web/unable to fetch metrics from custom metrics API: no custom metrics \
             API (custom.metrics.k8s.io) registered",
        ),
        (
            json!({ "type": "External", "external": { "metric": { "name": "jobs", "selector": selector }, "target": average } }),
            "FailedGetExternalMetric",
            "unable to get external metric shop/jobs/&LabelSelector{MatchLabels:map[string]string{queue: a,},MatchExpressions:\
             []LabelSelectorRequirement{},}: unable to fetch metrics from external metrics API: the server could not find the \
             requested resource (get jobs.external.metrics.k8s.io)",
        ),
    ] {
        let plan = plan(&autoscaler(json!([metric])), &scale(3), at(5));
        assert_eq!(notes(&plan)[0], format!("{reason}: {error}"));
        let message = plan.status.conditions.as_ref().and_then(|conditions| conditions[1].message.clone());
        assert_eq!(message, Some(format!("the HPA was unable to compute the replica count: {error}")));
    }
}

#[test]
fn a_target_at_zero_is_left_there() {
    let plan = plan(&autoscaler(json!([cpu()])), &scale(0), at(5));
    assert_eq!((plan.step, plan.status.desired_replicas), (None, 0));
    assert_eq!(conditions(&plan.status), ["AbleToScale=True SucceededGetScale", "ScalingActive=False ScalingDisabled"]);
}

#[test]
fn a_target_without_selector_is_not_measured() {
    let target = Target::Scale { replicas: 3, selector: String::new() };
    let plan = plan(&autoscaler(json!([cpu()])), &target, at(5));
    assert_eq!(notes(&plan), ["SelectorRequired: selector is required", "FailedComputeMetricsReplicas: selector is required"]);
    assert_eq!(conditions(&plan.status)[1], "ScalingActive=False InvalidSelector");
    assert_eq!(plan.status.current_metrics, None);
}

#[test]
fn a_missing_target_is_told_and_times_stay() {
    let mut own = autoscaler(json!([cpu()]));
    let missing = Target::Refused("deployments.apps \"web\" not found".to_owned());
    let first = plan(&own, &missing, at(5));
    assert_eq!(notes(&first), ["FailedGetScale: deployments.apps \"web\" not found"]);
    assert_eq!(conditions(&first.status), ["AbleToScale=False FailedGetScale"]);
    own.status = Some(first.status.clone());
    assert_eq!(plan(&own, &missing, at(50)).status, first.status, "an unchanged condition keeps its time");
    let found = plan(&own, &scale(3), at(60));
    let time = found.status.conditions.as_ref().and_then(|conditions| conditions[0].last_transition_time.clone());
    assert_eq!(time.unwrap().0, at(60));
}
