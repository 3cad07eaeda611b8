//! Cells that several kinds share.

use jiff::Timestamp;
use serde_json::Value;

use super::age;

/// The object's name.
pub(super) fn name(object: &Value) -> Value {
    text(&object["metadata"]["name"]).into()
}

/// How long ago the object was made.
pub(super) fn age(object: &Value, now: Timestamp) -> Value {
    age::since(&object["metadata"]["creationTimestamp"], now).into()
}

/// A text, empty where there is none.
pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A text, or these words where there is none.
pub(super) fn text_or<'a>(value: &'a Value, words: &'a str) -> &'a str {
    match text(value) {
        "" => words,
        text => text,
    }
}

/// A whole number, 0 where there is none.
pub(super) fn integer(value: &Value) -> i64 {
    value.as_i64().unwrap_or_default()
}

/// The items of a list, none where there is no list.
pub(super) fn items(value: &Value) -> impl DoubleEndedIterator<Item = &Value> {
    value.as_array().map_or(&[][..], Vec::as_slice).iter()
}

/// How many items or fields there are.
pub(super) fn count(value: &Value) -> usize {
    value.as_array().map_or(0, Vec::len) + value.as_object().map_or(0, serde_json::Map::len)
}

/// Names and images of the containers of a pod spec, each joined by commas.
pub(super) fn containers(pod_spec: &Value) -> [Value; 2] {
    let column = |key: &str| {
        let texts: Vec<&str> = items(&pod_spec["containers"]).map(|container| text(&container[key])).collect();
        Value::from(texts.join(","))
    };
    [column("name"), column("image")]
}

/// The first three of a list, and how many more there are: `a,b,c + 2 more...`.
pub(super) fn first_three(texts: &[String]) -> String {
    const SHOWN: usize = 3;
    match texts {
        [] => String::new(),
        few if few.len() <= SHOWN => few.join(","),
        many => format!("{} + {} more...", many[..SHOWN].join(","), many.len() - SHOWN),
    }
}
