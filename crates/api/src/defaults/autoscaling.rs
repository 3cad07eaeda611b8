//! Defaults of HorizontalPodAutoscaler in both versions.

use serde_json::{Value, json};

use super::fill::{each, inside, unset, within};
use super::quantities;
use crate::autoscaling::{DEFAULT_CPU_PERCENT, SPEC_ANNOTATIONS};

pub(super) fn horizontal_pod_autoscaler(autoscaler: &mut Value) {
    if autoscaler["apiVersion"] == "autoscaling/v1" {
        return older(autoscaler);
    }
    within(autoscaler, "spec", |spec| {
        unset(spec, "minReplicas", 1);
        if spec["metrics"].as_array().is_none_or(Vec::is_empty) {
            let target = json!({ "type": "Utilization", "averageUtilization": DEFAULT_CPU_PERCENT });
            spec["metrics"] = json!([{ "type": "Resource", "resource": { "name": "cpu", "target": target } }]);
        }
        each(spec, "metrics", |metric| {
            for source in ["object", "pods", "resource", "containerResource", "external"] {
                inside(metric, source, |source| {
                    inside(source, "target", |target| {
                        quantities::canonical_field(target, "value");
                        quantities::canonical_field(target, "averageValue");
                    });
                });
            }
        });
        inside(spec, "behavior", |behavior| {
            let pods = json!({ "type": "Pods", "value": 4, "periodSeconds": 15 });
            let percent = json!({ "type": "Percent", "value": 100, "periodSeconds": 15 });
            within(behavior, "scaleUp", |rules| {
                unset(rules, "stabilizationWindowSeconds", 0);
                unset(rules, "policies", json!([pods, percent]));
            });
            // How long to wait before scaling down is for whoever scales to say.
            within(behavior, "scaleDown", |rules| unset(rules, "policies", json!([percent])));
            for direction in ["scaleUp", "scaleDown"] {
                inside(behavior, direction, |rules| unset(rules, "selectPolicy", "Max"));
            }
        });
    });
}

fn older(autoscaler: &mut Value) {
    let carried = autoscaler["metadata"]["annotations"].get(SPEC_ANNOTATIONS[0]).is_some();
    within(autoscaler, "spec", |spec| {
        unset(spec, "minReplicas", 1);
        if !carried {
            unset(spec, "targetCPUUtilizationPercentage", DEFAULT_CPU_PERCENT);
        }
    });
}
