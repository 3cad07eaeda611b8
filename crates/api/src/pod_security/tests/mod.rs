//! The checks against what upstream's own tests expect of them.

use serde_json::{Value, json};

use super::{Level, LevelVersion, Pod, Version, check::Rule};

mod details;
mod fixtures;
mod more_details;
mod policies;
mod surveys;

/// A level as of a minor version.
fn at(level: Level, minor: u64) -> LevelVersion {
    LevelVersion { level, version: Version::Minor(minor) }
}

/// A level as of now.
fn latest(level: Level) -> LevelVersion {
    LevelVersion { level, version: Version::Latest }
}

/// What a rule says of a pod with this spec: reason and detail.
#[track_caller]
fn expect(rule: Rule, spec: Value, expected: Option<(&str, &str)>) {
    expect_of(rule, &json!({ "metadata": {}, "spec": spec }), expected);
}

#[track_caller]
fn expect_of(rule: Rule, pod: &Value, expected: Option<(&str, &str)>) {
    let found = rule(Pod::of(pod));
    let found = found.as_ref().map(|violation| (violation.reason, violation.detail.as_str()));
    assert_eq!(found, expected, "{pod}");
}

/// Containers `a`, `b` and so on, with these security contexts.
fn contexts(contexts: &[Value]) -> Value {
    contexts.iter().zip('a'..).map(|(context, name)| json!({ "name": name.to_string(), "securityContext": context })).collect()
}

/// Containers `a`, `b` and so on, with these values of one field of their security contexts.
fn containers(field: &str, values: &[Value]) -> Value {
    contexts(&values.iter().map(|value| json!({ field: value })).collect::<Vec<_>>())
}
