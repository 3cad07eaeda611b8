//! JSON that remembers duplicate keys, and complains about bad syntax in the words of upstream's decoder.

use std::cell::RefCell;
use std::fmt::{self, Write as _};

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// As upstream: of more mistakes than this the first are told.
const MAX_DUPLICATES: usize = 100;

/// A document, and what was said twice in it.
///
/// It implements [`serde::Deserialize`], so any self-describing format can be read into it, YAML for one.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The value; of a duplicate key the last value counts, as in Go.
    pub value: Value,
    /// One line for each key that came twice: `duplicate field "spec.replicas"`.
    pub duplicates: Vec<String>,
}

/// Why a body is not JSON.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    message: String,
}

/// Reads a body; of a duplicate key the last value counts, and a line about it is handed back beside the value.
///
/// # Errors
///
/// Text that is not one JSON value, or one nested deeper than 127 levels, which no kind of the API comes near.
pub fn decode(body: &[u8]) -> Result<(Value, Vec<String>), Error> {
    let document: Document = serde_json::from_slice(body).map_err(|error| Error { message: in_go_words(body, &error) })?;
    Ok((document.value, document.duplicates))
}

impl<'de> de::Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seen = RefCell::new(Seen::default());
        let value = Node(&seen).deserialize(deserializer)?;
        Ok(Self { value, duplicates: seen.into_inner().duplicates })
    }
}

/// Where in the document the reader stands, and what it met twice on the way.
#[derive(Default)]
struct Seen {
    path: String,
    duplicates: Vec<String>,
}

#[derive(Clone, Copy)]
struct Node<'a>(&'a RefCell<Seen>);

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number that JSON cannot hold"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        let length = self.0.borrow().path.len();
        loop {
            // Writing to a string cannot fail.
            let _ = write!(self.0.borrow_mut().path, "[{}]", list.len());
            let item = items.next_element_seed(self)?;
            self.0.borrow_mut().path.truncate(length);
            match item {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        let length = self.0.borrow().path.len();
        while let Some(key) = entries.next_key::<String>()? {
            {
                let seen = &mut *self.0.borrow_mut();
                if length > 0 {
                    seen.path.push('.');
                }
                seen.path.push_str(&key);
                if map.contains_key(&key) && seen.duplicates.len() < MAX_DUPLICATES {
                    seen.duplicates.push(format!("duplicate field \"{}\"", seen.path.escape_debug()));
                }
            }
            let value = entries.next_value_seed(self)?;
            self.0.borrow_mut().path.truncate(length);
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

/// Clients print the message as it comes, so it should be the one they know from Go's decoder.
fn in_go_words(body: &[u8], error: &serde_json::Error) -> String {
    if error.is_eof() {
        return "unexpected end of JSON input".to_owned();
    }
    let text = error.to_string();
    let place = match text.split(" at line ").next().unwrap_or_default() {
        "expected value" => "looking for beginning of value",
        "key must be a string" | "trailing comma" => "looking for beginning of object key string",
        "expected `:`" => "after object key",
        "expected `,` or `}`" => "after object key:value pair",
        "expected `,` or `]`" => "after array element",
        "trailing characters" => "after top-level value",
        "recursion limit exceeded" => return "exceeded max depth".to_owned(),
        _ => return text,
    };
    let line = body.split(|byte| *byte == b'\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    match line.get(error.column().saturating_sub(1)) {
        Some(byte) => format!("invalid character {} {place}", quoted(*byte)),
        None => text,
    }
}

fn quoted(byte: u8) -> String {
    match byte {
        b'\'' => r"'\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        _ => format!("'{}'", char::from(byte).escape_debug()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_of_two_counts_and_both_are_told() {
        let body = br#"{"a":1,"spec":{"x":[{"n":1},{"n":2,"n":3}],"labels":{"k":"v","k":"w"}},"a":{"b":null}}"#;
        let (value, duplicates) = decode(body).expect("it is JSON");
        assert_eq!(value, json!({ "a": { "b": null }, "spec": { "x": [{ "n": 1 }, { "n": 3 }], "labels": { "k": "w" } } }));
        assert_eq!(
            duplicates,
            [r#"duplicate field "spec.x[1].n""#, r#"duplicate field "spec.labels.k""#, r#"duplicate field "a""#]
        );
    }

    #[test]
    fn numbers_keep_their_kind() {
        let (value, _) = decode(b"[1, -1, 18446744073709551615, 1.5, true, \"s\"]").expect("it is JSON");
        assert_eq!(value, json!([1, -1, u64::MAX, 1.5, true, "s"]));
    }

    #[test]
    fn syntax_errors_read_as_gos() {
        for (body, expected) in [
            ("", "unexpected end of JSON input"),
            ("{\"a\":", "unexpected end of JSON input"),
            ("x", "invalid character 'x' looking for beginning of value"),
            ("{a:1}", "invalid character 'a' looking for beginning of object key string"),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            ("{\"a\":1 \"b\":2}", "invalid character '\"' after object key:value pair"),
            ("[1 2]", "invalid character '2' after array element"),
            ("{}\n}", "invalid character '}' after top-level value"),
        ] {
            assert_eq!(decode(body.as_bytes()).expect_err(body).to_string(), expected, "{body}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let body = "[".repeat(100_000);
        assert_eq!(decode(body.as_bytes()).expect_err("too deep").to_string(), "exceeded max depth");
    }
}
