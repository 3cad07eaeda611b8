//! Two shapes of one object: autoscaling/v2 HorizontalPodAutoscaler, which is stored, and autoscaling/v1.
//!
//! The older shape has one figure, a percentage of the CPU. Whatever else an autoscaler says travels through it in annotations,
//! as upstream writes them, so that nothing is lost on the way there and back.

mod behavior;
mod metric;

use serde_json::{Map, Value, json};

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";

/// Annotations of the older shape that stand for parts of the spec.
pub const SPEC_ANNOTATIONS: [&str; 2] = [METRICS, BEHAVIOR];
/// Annotations of the older shape that stand for parts of the status.
pub const STATUS_ANNOTATIONS: [&str; 2] = [CURRENT_METRICS, CONDITIONS];

/// What the CPU is kept at where an autoscaler says nothing, in percent of what pods request.
pub const DEFAULT_CPU_PERCENT: i64 = 80;

/// An autoscaling/v1 autoscaler as autoscaling/v2.
pub fn to_v2(object: &Value) -> Value {
    let mut out = object.clone();
    let carried = |key: &str| {
        let text = object["metadata"]["annotations"].get(key)?.as_str()?;
        serde_json::from_str::<Value>(text).ok()
    };
    drop_annotations(&mut out, &[METRICS, BEHAVIOR, CURRENT_METRICS, CONDITIONS]);
    put(&mut out, "apiVersion", "autoscaling/v2".into());
    if let Some(spec) = out.get_mut("spec").and_then(Value::as_object_mut) {
        let percent = spec.remove("targetCPUUtilizationPercentage").filter(|percent| !percent.is_null());
        let mut metrics: Vec<Value> = percent.map(cpu_percent).into_iter().collect();
        metrics.extend(carried(METRICS).iter().flat_map(items).map(metric::spec_to_v2));
        if metrics.is_empty() {
            metrics.push(cpu_percent(DEFAULT_CPU_PERCENT.into()));
        }
        spec.insert("metrics".to_owned(), metrics.into());
        if let Some(behavior) = carried(BEHAVIOR) {
            spec.insert("behavior".to_owned(), behavior::from_annotation(&behavior));
        }
    }
    if let Some(status) = out.get_mut("status").and_then(Value::as_object_mut) {
        let percent = status.remove("currentCPUUtilizationPercentage").filter(|percent| !percent.is_null());
        let own = percent.map(|percent| {
            json!([{ "type": "Resource", "resource": { "name": "cpu", "current": { "averageUtilization": percent } } }])
        });
        let metrics = carried(CURRENT_METRICS).map(|metrics| items(&metrics).map(metric::status_to_v2).collect()).or(own);
        // Upstream writes the list even where there is none.
        status.insert("currentMetrics".to_owned(), metrics.unwrap_or_default());
        if let Some(conditions) = carried(CONDITIONS) {
            status.insert("conditions".to_owned(), conditions);
        }
    }
    out
}

/// An autoscaling/v2 autoscaler as autoscaling/v1.
pub fn from_v2(object: &Value) -> Value {
    let mut out = object.clone();
    let mut carried = Map::new();
    drop_annotations(&mut out, &[METRICS, BEHAVIOR, CURRENT_METRICS, CONDITIONS]);
    put(&mut out, "apiVersion", "autoscaling/v1".into());
    if let Some(spec) = out.get_mut("spec").and_then(Value::as_object_mut) {
        let metrics = spec.remove("metrics").unwrap_or_default();
        let (own, other): (Vec<&Value>, Vec<&Value>) = items(&metrics).partition(|metric| is_cpu_percent(metric));
        if let Some(metric) = own.first() {
            let percent = metric["resource"]["target"]["averageUtilization"].clone();
            spec.insert("targetCPUUtilizationPercentage".to_owned(), percent);
        }
        if !other.is_empty() {
            carry(&mut carried, METRICS, &other.into_iter().map(metric::spec_to_v1).collect());
        }
        if let Some(behavior) = spec.remove("behavior").filter(Value::is_object) {
            carry(&mut carried, BEHAVIOR, &behavior::to_annotation(&behavior));
        }
    }
    if let Some(status) = out.get_mut("status").and_then(Value::as_object_mut) {
        let metrics = status.remove("currentMetrics").unwrap_or_default();
        let own = items(&metrics).find_map(|metric| {
            let percent = &metric["resource"]["current"]["averageUtilization"];
            (metric["type"] == "Resource" && metric["resource"]["name"] == "cpu" && !percent.is_null()).then_some(percent)
        });
        if let Some(percent) = own {
            status.insert("currentCPUUtilizationPercentage".to_owned(), percent.clone());
        }
        if items(&metrics).next().is_some() {
            carry(&mut carried, CURRENT_METRICS, &items(&metrics).map(metric::status_to_v1).collect());
        }
        if let Some(conditions) = status.remove("conditions").filter(|conditions| items(conditions).next().is_some()) {
            carry(&mut carried, CONDITIONS, &conditions);
        }
        status.entry("currentReplicas").or_insert(0.into());
    }
    if !carried.is_empty() {
        if out["metadata"]["annotations"].is_null() {
            out["metadata"]["annotations"] = json!({});
        }
        if let Some(annotations) = out["metadata"]["annotations"].as_object_mut() {
            annotations.extend(carried);
        }
    }
    out
}

fn carry(carried: &mut Map<String, Value>, key: &str, value: &Value) {
    carried.insert(key.to_owned(), value.to_string().into());
}

fn cpu_percent(percent: Value) -> Value {
    json!({ "type": "Resource", "resource": {
        "name": "cpu", "target": { "type": "Utilization", "averageUtilization": percent },
    } })
}

fn is_cpu_percent(metric: &Value) -> bool {
    let resource = &metric["resource"];
    metric["type"] == "Resource" && resource["name"] == "cpu" && !resource["target"]["averageUtilization"].is_null()
}

fn put(object: &mut Value, key: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(key.to_owned(), value);
    }
}

fn drop_annotations(object: &mut Value, keys: &[&str]) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) else { return };
    let before = annotations.len();
    annotations.retain(|key, _| !keys.contains(&key.as_str()));
    if annotations.is_empty() && before > 0 {
        metadata.remove("annotations");
    }
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().map_or(&[][..], Vec::as_slice).iter()
}

#[cfg(test)]
mod tests;
