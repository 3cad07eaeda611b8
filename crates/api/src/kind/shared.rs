//! Kinds that are views of the same objects, such as two versions of one kind: the store keeps one shape of them.

use std::borrow::Cow;

use serde_json::Value;

use super::{Kind, find};

/// The kind whose shape is stored, and the way there and back.
#[derive(Debug, Clone, Copy)]
pub struct Shared {
    /// API group of the stored kind.
    pub group: &'static str,
    /// Version of the stored kind.
    pub version: &'static str,
    /// Plural of the stored kind.
    pub plural: &'static str,
    /// From this kind's shape to the stored one.
    pub to_stored: fn(&Value) -> Value,
    /// From the stored shape to this kind's.
    pub from_stored: fn(&Value) -> Value,
}

impl Kind {
    /// Group and plural under which the store keeps the objects.
    pub fn stored_as(&self) -> (&'static str, &'static str) {
        self.stored_as.map_or((self.group, self.plural), |shared| (shared.group, shared.plural))
    }

    /// The kind whose shape the stored objects have.
    pub fn stored_kind(&self) -> &Self {
        self.stored_as.and_then(|shared| find(shared.group, shared.version, shared.plural)).unwrap_or(self)
    }

    /// An object of this kind in the shape that is stored.
    pub fn to_stored<'a>(&self, object: &'a Value) -> Cow<'a, Value> {
        self.stored_as.map_or(Cow::Borrowed(object), |shared| Cow::Owned((shared.to_stored)(object)))
    }

    /// A stored object as this kind shows it.
    pub fn from_stored(&self, object: Value) -> Value {
        match self.stored_as {
            Some(shared) => (shared.from_stored)(&object),
            None => object,
        }
    }
}
