//! Drops from an object what its type does not have, as decoding into a struct does upstream.

use serde_json::Value;

use super::{Field, Message, Shape, Type};

/// Removes fields that the type does not have, and fields that say nothing: null, and the zero of a field that has no other way to
/// be unset.
///
/// This is what upstream stores, as decoding into Go structs and encoding them again does it; so `hostNetwork: false` in a template
/// makes no new revision, and neither does `env: []`. A null among the strings of a list or map is an empty string there.
pub fn prune(message: &Message, object: &mut Value) {
    if let Value::Object(map) = object {
        map.retain(|key, value| match message.field(key) {
            Some(field) => {
                prune_field(field, value);
                field.keeps(value)
            }
            None => message.kind && (key == "apiVersion" || key == "kind"),
        });
    }
}

fn prune_field(field: &Field, value: &mut Value) {
    match (field.shape, value) {
        (Shape::One, value) => prune_element(field, value),
        (Shape::List, Value::Array(items)) => {
            for item in items {
                zero_if_null(field, item);
                prune_element(field, item);
            }
        }
        (Shape::Map, Value::Object(map)) => {
            for item in map.values_mut() {
                zero_if_null(field, item);
                prune_element(field, item);
            }
        }
        _ => {}
    }
}

fn prune_element(field: &Field, value: &mut Value) {
    if let Some(message) = field.message() {
        prune(message, value);
    }
}

fn zero_if_null(field: &Field, value: &mut Value) {
    if value.is_null() {
        *value = match field.ty {
            Type::String => Value::String(String::new()),
            Type::Bool => Value::Bool(false),
            Type::Int32 | Type::Int64 | Type::IntOrString => Value::from(0),
            Type::Quantity => Value::String("0".to_owned()),
            Type::Message(_) => Value::Object(serde_json::Map::new()),
            _ => return,
        };
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::message;

    #[test]
    fn what_says_nothing_goes() {
        let mut object = json!({
            "apiVersion": "v1", "kind": "Pod", "zzz": 1,
            "metadata": { "name": "p", "creationTimestamp": null, "labels": { "a": null, "b": "c" } },
            "spec": {
                "containers": [{
                    "name": "a", "foo": "bar", "env": null, "args": [null], "resources": {}, "command": [], "image": "", "tty": false,
                    "livenessProbe": { "initialDelaySeconds": 0, "failureThreshold": 3 },
                }],
                "volumes": [{ "name": "v", "emptyDir": {} }],
                "terminationGracePeriodSeconds": 0, "hostNetwork": false, "automountServiceAccountToken": false, "nodeSelector": {},
                "tolerations": [],
            },
        });
        prune(message("", "v1", "Pod").expect("core has Pod"), &mut object);
        assert_eq!(
            object,
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": { "name": "p", "labels": { "a": "", "b": "c" } },
                "spec": {
                    "containers": [{ "name": "a", "args": [""], "resources": {}, "livenessProbe": { "failureThreshold": 3 } }],
                    "volumes": [{ "name": "v", "emptyDir": {} }],
                    "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": false,
                },
            })
        );
    }
}
