//! Metrics in both shapes: the older one has a field for every figure where the newer one has a target and an identifier.

use serde_json::{Map, Value, json};

/// A metric to be kept at a target, as the older shape writes it.
pub(super) fn spec_to_v1(metric: &Value) -> Value {
    source(metric, |kind, from| match kind {
        "object" => fields(&[
            ("target", &from["describedObject"]),
            ("metricName", &from["metric"]["name"]),
            ("selector", &from["metric"]["selector"]),
            ("targetValue", or_zero(&from["target"]["value"])),
            ("averageValue", &from["target"]["averageValue"]),
        ]),
        "pods" => fields(&[
            ("metricName", &from["metric"]["name"]),
            ("selector", &from["metric"]["selector"]),
            ("targetAverageValue", &from["target"]["averageValue"]),
        ]),
        "external" => fields(&[
            ("metricName", &from["metric"]["name"]),
            ("metricSelector", &from["metric"]["selector"]),
            ("targetValue", &from["target"]["value"]),
            ("targetAverageValue", &from["target"]["averageValue"]),
        ]),
        _ => fields(&[
            ("name", &from["name"]),
            ("container", &from["container"]),
            ("targetAverageUtilization", &from["target"]["averageUtilization"]),
            ("targetAverageValue", &from["target"]["averageValue"]),
        ]),
    })
}

/// A metric to be kept at a target, as the newer shape writes it.
pub(super) fn spec_to_v2(metric: &Value) -> Value {
    source(metric, |kind, from| {
        let identifier =
            fields(&[("name", &from["metricName"]), ("selector", either(&from["selector"], &from["metricSelector"]))]);
        let average = either(&from["targetAverageValue"], &from["averageValue"]);
        let percent = &from["targetAverageUtilization"];
        let value = if kind == "object" && !average.is_null() && from["targetValue"] == "0" {
            &Value::Null
        } else {
            &from["targetValue"]
        };
        let by = match kind {
            "resource" | "containerResource" if average.is_null() => "Utilization",
            "object" | "external" if average.is_null() => "Value",
            _ => "AverageValue",
        };
        let target =
            fields(&[("type", &by.into()), ("value", value), ("averageValue", average), ("averageUtilization", percent)]);
        with_identity(kind, from, identifier, ("target", target))
    })
}

/// What was measured, as the older shape writes it.
pub(super) fn status_to_v1(metric: &Value) -> Value {
    source(metric, |kind, from| {
        let current = &from["current"];
        match kind {
            "object" => fields(&[
                ("target", &from["describedObject"]),
                ("metricName", &from["metric"]["name"]),
                ("selector", &from["metric"]["selector"]),
                ("currentValue", or_zero(&current["value"])),
                ("averageValue", &current["averageValue"]),
            ]),
            "pods" => fields(&[
                ("metricName", &from["metric"]["name"]),
                ("selector", &from["metric"]["selector"]),
                ("currentAverageValue", or_zero(&current["averageValue"])),
            ]),
            "external" => fields(&[
                ("metricName", &from["metric"]["name"]),
                ("metricSelector", &from["metric"]["selector"]),
                ("currentValue", or_zero(&current["value"])),
                ("currentAverageValue", &current["averageValue"]),
            ]),
            _ => fields(&[
                ("name", &from["name"]),
                ("container", &from["container"]),
                ("currentAverageUtilization", &current["averageUtilization"]),
                ("currentAverageValue", or_zero(&current["averageValue"])),
            ]),
        }
    })
}

/// What was measured, as the newer shape writes it.
pub(super) fn status_to_v2(metric: &Value) -> Value {
    source(metric, |kind, from| {
        let identifier =
            fields(&[("name", &from["metricName"]), ("selector", either(&from["selector"], &from["metricSelector"]))]);
        let current = fields(&[
            ("value", &from["currentValue"]),
            ("averageValue", either(&from["currentAverageValue"], &from["averageValue"])),
            ("averageUtilization", &from["currentAverageUtilization"]),
        ]);
        with_identity(kind, from, identifier, ("current", current))
    })
}

/// A metric is a type and one source, which lies in the field of that name.
fn source(metric: &Value, convert: impl Fn(&str, &Value) -> Value) -> Value {
    let fields = metric.as_object().into_iter().flatten();
    let converted = fields.map(|(key, value)| {
        let value = if key == "type" || !value.is_object() { value.clone() } else { convert(key, value) };
        (key.clone(), value)
    });
    Value::Object(converted.collect::<Map<_, _>>())
}

/// What the figure is of, and the figure.
fn with_identity(kind: &str, from: &Value, identifier: Value, (name, figure): (&str, Value)) -> Value {
    let mut out = match kind {
        "object" => json!({ "describedObject": from["target"], "metric": identifier }),
        "pods" | "external" => json!({ "metric": identifier }),
        _ => fields(&[("name", &from["name"]), ("container", &from["container"])]),
    };
    out[name] = figure;
    out
}

/// An object of the fields that are set.
fn fields(all: &[(&str, &Value)]) -> Value {
    let set = all.iter().filter(|(_, value)| !value.is_null());
    Value::Object(set.map(|(key, value)| ((*key).to_owned(), (*value).clone())).collect::<Map<_, _>>())
}

fn either<'a>(first: &'a Value, second: &'a Value) -> &'a Value {
    if first.is_null() { second } else { first }
}

/// A quantity that the older shape cannot leave out.
fn or_zero(quantity: &Value) -> &Value {
    static ZERO: std::sync::LazyLock<Value> = std::sync::LazyLock::new(|| "0".into());
    if quantity.is_null() { &ZERO } else { quantity }
}
