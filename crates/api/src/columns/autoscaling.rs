//! The row of a HorizontalPodAutoscaler.

use jiff::Timestamp;
use serde_json::Value;

use super::{
    Column,
    cell::{self, integer, items, text},
};
use crate::autoscaling;

pub(crate) const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::text("Reference"),
    Column::text("Targets"),
    Column::text("MinPods"),
    Column::text("MaxPods"),
    Column::text("Replicas"),
    Column::AGE,
];

/// Metrics that a row shows; of the others it says how many there are.
const SHOWN: usize = 2;
const UNKNOWN: &str = "<unknown>";

pub(crate) fn row(autoscaler: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&autoscaler["spec"], &autoscaler["status"]);
    let target = &spec["scaleTargetRef"];
    let min = spec["minReplicas"].as_i64().map_or_else(|| "<unset>".to_owned(), |min| min.to_string());
    vec![
        cell::name(autoscaler),
        format!("{}/{}", text(&target["kind"]), text(&target["name"])).into(),
        metrics(&spec["metrics"], &status["currentMetrics"]).into(),
        min.into(),
        integer(&spec["maxReplicas"]).into(),
        integer(&status["currentReplicas"]).into(),
        cell::age(autoscaler, now),
    ]
}

pub(crate) fn row_of_v1(autoscaler: &Value, now: Timestamp) -> Vec<Value> {
    row(&autoscaling::to_v2(autoscaler), now)
}

/// What is measured of what is wanted, metric by metric.
fn metrics(wanted: &Value, measured: &Value) -> String {
    let texts: Vec<String> = items(wanted).enumerate().map(|(index, metric)| ratio(metric, &measured[index])).collect();
    match texts.len() {
        0 => "<none>".to_owned(),
        count if count > SHOWN => format!("{} + {} more...", texts[..SHOWN].join(", "), count - SHOWN),
        _ => texts.join(", "),
    }
}

fn ratio(metric: &Value, measured: &Value) -> String {
    let (field, average) = match text(&metric["type"]) {
        "External" => ("external", " (avg)"),
        "Object" => ("object", " (avg)"),
        "Pods" => ("pods", ""),
        "Resource" => ("resource", ""),
        "ContainerResource" => ("containerResource", ""),
        _ => return "<unknown type>".to_owned(),
    };
    let (source, target, current) = (&metric[field], &metric[field]["target"], &measured[field]["current"]);
    let known = |value: &Value| value.as_str().unwrap_or(UNKNOWN).to_owned();
    let percent = |value: &Value, absent: &str| value.as_i64().map_or_else(|| absent.to_owned(), |value| format!("{value}%"));
    let of = match field {
        "resource" | "containerResource" => format!("{}: ", text(&source["name"])),
        _ => String::new(),
    };
    if let Some(wanted) = target["averageValue"].as_str() {
        return format!("{of}{}/{wanted}{average}", known(&current["averageValue"]));
    }
    if of.is_empty() {
        return format!("{}/{}", known(&current["value"]), text(&target["value"]));
    }
    format!("{of}{}/{}", percent(&current["averageUtilization"], UNKNOWN), percent(&target["averageUtilization"], "<auto>"))
}
