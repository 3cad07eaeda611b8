//! A value together with the path that leads to it, so that a rule reads like the sentence it stands for.

use serde_json::{Map, Value};

const ABSENT: &Value = &Value::Null;

/// A place in an object. What is absent, and what has another type than the rule asks for, is like nothing at all:
/// the decoder has reported wrong types before any rule runs.
#[derive(Debug, Clone)]
pub(super) struct Field<'a> {
    path: String,
    value: &'a Value,
}

impl<'a> Field<'a> {
    /// The whole object.
    pub(super) fn root(value: &'a Value) -> Self {
        Self { path: String::new(), value }
    }

    /// A value that upstream reports under a path of its own.
    pub(super) fn new(path: impl Into<String>, value: &'a Value) -> Self {
        Self { path: path.into(), value }
    }

    /// The path as messages print it.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The bare value.
    pub(super) fn value(&self) -> &'a Value {
        self.value
    }

    /// A field of this object.
    pub(super) fn get(&self, name: &str) -> Self {
        Self { path: self.child(name), value: self.value.get(name).unwrap_or(ABSENT) }
    }

    /// The same value under the path of a field of this one, where upstream's path is not the field's.
    pub(super) fn named(&self, path: impl Into<String>) -> Self {
        Self { path: path.into(), value: self.value }
    }

    /// The path of a field of this object.
    pub(super) fn child(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { [&self.path, ".", name].concat() }
    }

    /// An entry of this map, with the path `map[key]`.
    pub(super) fn key(&self, key: &str) -> Self {
        Self { path: self.entry(key), value: self.value.get(key).unwrap_or(ABSENT) }
    }

    fn entry(&self, key: &str) -> String {
        [&self.path, "[", key, "]"].concat()
    }

    /// The items of this list.
    pub(super) fn items(&self) -> impl Iterator<Item = Self> + use<'a, '_> {
        let items = self.value.as_array().map_or(&[][..], Vec::as_slice);
        items.iter().enumerate().map(|(index, value)| Self { path: format!("{}[{index}]", self.path), value })
    }

    /// The entries of this map, in the order of their keys.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a str, Self)> + use<'a, '_> {
        let entries = self.value.as_object().into_iter().flatten();
        entries.map(|(key, value)| (key.as_str(), Self { path: self.entry(key), value }))
    }

    /// How many items or entries there are.
    pub(super) fn len(&self) -> usize {
        match self.value {
            Value::Array(items) => items.len(),
            Value::Object(map) => map.len(),
            _ => 0,
        }
    }

    /// Whether there are no items or entries.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is anything here.
    pub(super) fn is_set(&self) -> bool {
        !self.value.is_null()
    }

    /// The text here, empty where there is none.
    pub(super) fn text(&self) -> &'a str {
        self.value.as_str().unwrap_or_default()
    }

    /// The whole number here.
    pub(super) fn int(&self) -> Option<i64> {
        self.value.as_i64()
    }

    /// The whole number here, zero where there is none.
    pub(super) fn number(&self) -> i64 {
        self.int().unwrap_or(0)
    }

    /// The truth value here.
    pub(super) fn flag(&self) -> Option<bool> {
        self.value.as_bool()
    }

    /// Whether it says `true`.
    pub(super) fn is_true(&self) -> bool {
        self.flag() == Some(true)
    }

    /// The map here.
    pub(super) fn map(&self) -> Option<&'a Map<String, Value>> {
        self.value.as_object()
    }

    /// Whether the map or object here has a non-null entry of that name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.value.get(name).is_some_and(|value| !value.is_null())
    }
}
