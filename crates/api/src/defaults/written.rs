//! Fields that upstream's encoder writes even when they are empty, because their Go type is a struct or lacks `omitempty`.

use serde_json::{Value, json};

use super::fill::{unset, within};

/// Makes an object look as upstream would print it, whoever wrote it.
pub(super) fn always(group: &str, kind: &str, object: &mut Value) {
    let (spec, status) = match (group, kind) {
        ("", "Pod") | ("apps", "Deployment") | ("batch", "Job" | "CronJob") => (json!({}), json!({})),
        ("", "Service") | ("networking.k8s.io", "Ingress") => (json!({}), json!({ "loadBalancer": {} })),
        ("", "Namespace" | "ResourceQuota" | "PersistentVolume" | "PersistentVolumeClaim")
        | ("networking.k8s.io", "ServiceCIDR") => (json!({}), json!({})),
        ("", "Node") => (json!({}), node_status()),
        ("", "ReplicationController") | ("apps", "ReplicaSet") => (json!({}), json!({ "replicas": 0 })),
        ("apps", "StatefulSet") => (json!({}), json!({ "availableReplicas": 0, "replicas": 0 })),
        ("apps", "DaemonSet") => (
            json!({}),
            json!({ "currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0 }),
        ),
        ("policy", "PodDisruptionBudget") => {
            (json!({}), json!({ "currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0 }))
        }
        ("autoscaling", "HorizontalPodAutoscaler") if object["apiVersion"] == "autoscaling/v1" => {
            (json!({}), json!({ "currentReplicas": 0, "desiredReplicas": 0 }))
        }
        ("autoscaling", "HorizontalPodAutoscaler") => (json!({}), json!({ "currentMetrics": null, "desiredReplicas": 0 })),
        ("autoscaling", "Scale") => (json!({}), json!({ "replicas": 0 })),
        ("", "Event") => {
            for field in ["involvedObject", "source"] {
                within(object, field, |_| {});
            }
            for field in ["eventTime", "firstTimestamp", "lastTimestamp"] {
                unset(object, field, Value::Null);
            }
            for field in ["reportingComponent", "reportingInstance"] {
                unset(object, field, "");
            }
            return;
        }
        ("events.k8s.io", "Event") => {
            for field in ["deprecatedSource", "regarding"] {
                within(object, field, |_| {});
            }
            for field in ["deprecatedFirstTimestamp", "deprecatedLastTimestamp", "eventTime"] {
                unset(object, field, Value::Null);
            }
            return;
        }
        ("coordination.k8s.io", "Lease") | ("networking.k8s.io", "IPAddress") => {
            unset(object, "spec", json!({}));
            return;
        }
        _ => return,
    };
    merge(object, "spec", &spec);
    merge(object, "status", &status);
}

fn node_status() -> Value {
    json!({
        "daemonEndpoints": { "kubeletEndpoint": { "Port": 0 } },
        "nodeInfo": {
            "architecture": "", "bootID": "", "containerRuntimeVersion": "", "kernelVersion": "", "kubeProxyVersion": "",
            "kubeletVersion": "", "machineID": "", "operatingSystem": "", "osImage": "", "systemUUID": "",
        },
    })
}

fn merge(object: &mut Value, field: &str, fields: &Value) {
    within(object, field, |inner| {
        for (name, value) in fields.as_object().into_iter().flatten() {
            match value {
                Value::Object(_) => merge(inner, name, value),
                other => unset(inner, name, other.clone()),
            }
        }
    });
}
