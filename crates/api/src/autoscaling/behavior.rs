//! Scaling rules as the older shape carries them: the fields of upstream's own struct, which have Go's names.

use serde_json::{Map, Value};

/// Fields of the rules of one direction, and their names in Go.
const RULES: [(&str, &str); 4] = [
    ("stabilizationWindowSeconds", "StabilizationWindowSeconds"),
    ("selectPolicy", "SelectPolicy"),
    ("policies", "Policies"),
    ("tolerance", "Tolerance"),
];
/// Fields of one policy.
const POLICY: [(&str, &str); 3] = [("type", "Type"), ("value", "Value"), ("periodSeconds", "PeriodSeconds")];
const DIRECTIONS: [(&str, &str); 2] = [("scaleUp", "ScaleUp"), ("scaleDown", "ScaleDown")];

/// What the annotation says of this behavior; what is not set is null.
pub(super) fn to_annotation(behavior: &Value) -> Value {
    map(behavior, &DIRECTIONS, |rules| map(rules, &RULES, |value| policies(value, |policy| map(policy, &POLICY, Value::clone))))
}

/// The behavior of which the annotation says this.
pub(super) fn from_annotation(carried: &Value) -> Value {
    unmap(carried, &DIRECTIONS, |rules| {
        unmap(rules, &RULES, |value| policies(value, |policy| unmap(policy, &POLICY, Value::clone)))
    })
}

fn policies(value: &Value, each: impl Fn(&Value) -> Value) -> Value {
    value.as_array().map_or_else(|| value.clone(), |policies| policies.iter().map(each).collect())
}

fn map(value: &Value, names: &[(&str, &str)], inner: impl Fn(&Value) -> Value) -> Value {
    if !value.is_object() {
        return value.clone();
    }
    let fields = names.iter().map(|(json, go)| ((*go).to_owned(), inner(&value[*json])));
    Value::Object(fields.collect::<Map<_, _>>())
}

fn unmap(value: &Value, names: &[(&str, &str)], inner: impl Fn(&Value) -> Value) -> Value {
    if !value.is_object() {
        return value.clone();
    }
    let set = names.iter().filter(|(_, go)| !value[*go].is_null());
    Value::Object(set.map(|(json, go)| ((*json).to_owned(), inner(&value[*go]))).collect::<Map<_, _>>())
}
