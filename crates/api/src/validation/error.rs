//! Field errors, worded as upstream words them.

use std::fmt;

use serde_json::Value;

/// What kind of mistake a [`FieldError`] reports: upstream's `field.ErrorType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// `FieldValueRequired`
    Required,
    /// `FieldValueInvalid`
    Invalid,
    /// `FieldValueNotSupported`; the detail lists what is.
    NotSupported,
    /// `FieldValueDuplicate`
    Duplicate,
    /// `FieldValueForbidden`
    Forbidden,
    /// `FieldValueTooLong`
    TooLong,
    /// `FieldValueTooMany`
    TooMany,
    /// `FieldValueNotFound`
    NotFound,
    /// `FieldValueTypeInvalid`
    TypeInvalid,
}

impl Cause {
    /// The machine-readable reason in `Status.details.causes[].reason`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::NotFound => "FieldValueNotFound",
            Self::TypeInvalid => "FieldValueTypeInvalid",
        }
    }

    /// The words that open the message.
    pub fn text(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Duplicate => "Duplicate value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::NotFound => "Not found",
        }
    }
}

/// One mistake in one field of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldError {
    /// What kind of mistake it is.
    pub cause: Cause,
    /// Path such as `spec.template.spec.containers[0].image` or `metadata.annotations[a/b]`.
    pub field: String,
    /// The value found there; not shown for `Required`, `Forbidden` and `TooLong`. A string is shown quoted, `Null` as `null`:
    /// where upstream had a nil pointer rather than an empty list, it shows `"null"`.
    pub bad_value: Value,
    /// What would be right; may be empty.
    pub detail: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}

impl FieldError {
    /// The message without the field path, as `Status.details.causes[].message` has it.
    pub fn body(&self) -> String {
        let text = self.cause.text();
        let shown = match (self.cause, &self.bad_value) {
            (Cause::Required | Cause::Forbidden | Cause::TooLong, _) | (Cause::TooMany, Value::Null) => String::new(),
            (_, Value::String(text)) => format!(": {}", quoted(text)),
            (_, value) => format!(": {}", json(value)),
        };
        if self.detail.is_empty() { format!("{text}{shown}") } else { format!("{text}{shown}: {}", self.detail) }
    }
}

/// A string as Go's `%q` writes it: what can be printed stands for itself.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            control if u32::from(control) < 0x20 || control == '\u{7f}' => {
                out.push_str(&format!("\\x{:02x}", u32::from(control)));
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

/// Structs whose fields Go writes in the order of their declaration; upstream shows its internal structs, whose fields have
/// no JSON names and are never left out.
const DECLARED: &[&[&str]] = &[
    &["matchLabels", "matchExpressions"],
    &["key", "operator", "values"],
    &["apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion"],
    &["Name", "Protocol", "AppProtocol", "Port", "TargetPort", "NodePort"],
    &["Type", "RollingUpdate"],
    &["MinAvailable", "Selector", "MaxUnavailable", "UnhealthyPodEvictionPolicy"],
    &["APIGroup", "Kind", "Name"],
    &["Group", "Resource", "Namespace", "Name"],
    &["Key", "Value", "Effect", "TimeAdded"],
    &["Key", "Operator", "Value", "Effect", "TolerationSeconds"],
];

/// JSON as Go's encoder writes it: compact, and safe to put into HTML.
fn json(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(json).collect::<Vec<_>>().join(",")),
        Value::Object(map) => {
            let declared = DECLARED.iter().find(|fields| map.keys().all(|key| fields.contains(&key.as_str())));
            let position = |key: &str| declared.and_then(|fields| fields.iter().position(|field| *field == key));
            let mut entries: Vec<(&String, &Value)> = map.iter().collect();
            entries.sort_by_key(|(key, _)| (position(key), *key));
            let entries: Vec<String> = entries.iter().map(|(key, value)| format!("{}:{}", json_text(key), json(value))).collect();
            format!("{{{}}}", entries.join(","))
        }
        Value::String(text) => json_text(text),
        other => other.to_string(),
    }
}

fn json_text(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e")
}
