//! Fields that a type does not have, in the words of upstream's decoder.

use serde_json::{Map, Value};

use super::{Message, Shape};

/// One line for each field that the type does not have: `unknown field "spec.foo"`, in the order of the object.
///
/// This is what upstream says under `fieldValidation=Warn` (one warning each) and `Strict` (see [`strict_error`]).
pub fn check(message: &Message, object: &Value) -> Vec<String> {
    let mut found = Vec::new();
    if let Value::Object(map) = object {
        unknown(message, map, &mut String::new(), &mut found);
    }
    found
}

/// What upstream answers under `fieldValidation=Strict` for [`check`]'s lines and the duplicates of the decoder.
pub fn strict_error(lines: &[String]) -> String {
    format!("strict decoding error: {}", lines.join(", "))
}

/// Runs `inside` with the path extended by a key, as upstream's decoder writes paths.
pub(super) fn at_key<R>(path: &mut String, key: &str, inside: impl FnOnce(&mut String) -> R) -> R {
    let length = path.len();
    if length > 0 {
        path.push('.');
    }
    path.push_str(key);
    let result = inside(path);
    path.truncate(length);
    result
}

fn at_index<R>(path: &mut String, index: usize, inside: impl FnOnce(&mut String) -> R) -> R {
    let length = path.len();
    path.push_str(&format!("[{index}]"));
    let result = inside(path);
    path.truncate(length);
    result
}

fn unknown(message: &Message, map: &Map<String, Value>, path: &mut String, found: &mut Vec<String>) {
    for (key, value) in map {
        at_key(path, key, |path| match message.field(key) {
            Some(field) => {
                if let Some(inner) = field.message() {
                    unknown_within(field.shape, inner, value, path, found);
                }
            }
            None if message.kind && (key == "apiVersion" || key == "kind") => {}
            None => found.push(format!("unknown field \"{}\"", path.escape_debug())),
        });
    }
}

fn unknown_within(shape: Shape, message: &Message, value: &Value, path: &mut String, found: &mut Vec<String>) {
    match (shape, value) {
        (Shape::One, Value::Object(map)) => unknown(message, map, path, found),
        (Shape::List, Value::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                at_index(path, index, |path| unknown_within(Shape::One, message, item, path, found));
            }
        }
        (Shape::Map, Value::Object(map)) => {
            for (key, item) in map {
                at_key(path, key, |path| unknown_within(Shape::One, message, item, path, found));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::message;

    fn deployment() -> &'static Message {
        message("apps", "v1", "Deployment").expect("apps/v1 has Deployment")
    }

    #[test]
    fn unknown_fields_are_named_by_path() {
        let object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "extra": 1,
            "metadata": { "name": "web", "labels": { "free": "text" } },
            "spec": { "foo": 1, "template": { "spec": { "containers": [
                { "name": "a", "resources": { "limits": { "any.example/thing": "1" } } },
                { "name": "b", "imagePullPolciy": "Always", "env": [{ "name": "x", "valu\"e": null }] },
            ] } } },
        });
        assert_eq!(
            check(deployment(), &object),
            [
                r#"unknown field "extra""#,
                r#"unknown field "spec.foo""#,
                r#"unknown field "spec.template.spec.containers[1].env[0].valu\"e""#,
                r#"unknown field "spec.template.spec.containers[1].imagePullPolciy""#,
            ]
        );
    }

    #[test]
    fn strict_errors_are_one_sentence() {
        let lines = [r#"unknown field "spec.a""#.to_owned(), r#"duplicate field "spec.b""#.to_owned()];
        assert_eq!(strict_error(&lines), r#"strict decoding error: unknown field "spec.a", duplicate field "spec.b""#);
    }
}
