//! What happens to an object on its way in, whoever sends it: who owns spec and status, and when the generation grows.

use serde_json::{Map, Value, json};

use super::{Generation, Kind, Subresource};

impl Kind {
    /// Readies a new object before it is validated, once it has its name and defaults: the generation starts, and the kind
    /// sets what its objects start with instead of the status that the client may have sent.
    pub fn prepare_create(&self, object: &mut Value) {
        let Some(metadata) = inside(object, "metadata") else { return };
        if self.generation == Generation::Untracked {
            metadata.remove("generation");
        } else {
            metadata.insert("generation".to_owned(), json!(1));
        }
        (self.initial)(object);
        // What was reset above has defaults of its own, such as the phase of a namespace.
        self.apply_defaults(object);
    }

    /// Sets what follows from the name and uid of a new object, once it has both.
    pub fn prepare_named(&self, object: &mut Value) {
        (self.named)(object);
        // A namespace carries its name as a label, and a job those of its template.
        self.apply_defaults(object);
    }

    /// Readies a change of the main resource before it is validated, once it has its defaults: status stays as it was, and the
    /// generation grows when what the user asks for has changed.
    pub fn prepare_update(&self, new: &mut Value, old: &Value) {
        if self.has(Subresource::Status) {
            carry_over(new, old, "status");
        }
        (self.keep)(new, old);
        let grown = match self.generation {
            Generation::Untracked | Generation::Constant => false,
            Generation::Spec => !same_spec(new, old),
            Generation::SpecAndAnnotations => !same_spec(new, old) || !same_annotations(new, old),
        };
        let before = old.pointer("/metadata/generation").and_then(Value::as_i64);
        let Some(metadata) = inside(new, "metadata") else { return };
        match before {
            Some(generation) => metadata.insert("generation".to_owned(), json!(generation.saturating_add(i64::from(grown)))),
            None => metadata.remove("generation"),
        };
    }

    /// Readies a write to `/status` before it is validated: everything but status and metadata stays as it was, and of the
    /// metadata what decides about deletion.
    pub fn prepare_status(&self, new: &mut Value, old: &Value) {
        let (Some(fields), Some(before)) = (new.as_object_mut(), old.as_object()) else { return };
        let status = fields.remove("status");
        let mut metadata = fields.remove("metadata").unwrap_or_else(|| json!({}));
        for key in ["generation", "deletionTimestamp", "deletionGracePeriodSeconds"] {
            carry_over(&mut metadata, &old["metadata"], key);
        }
        *fields = before.clone();
        fields.insert("metadata".to_owned(), metadata);
        match status {
            Some(status) => fields.insert("status".to_owned(), status),
            None => fields.remove("status"),
        };
        (self.keep_status)(new, old);
    }
}

/// For kinds whose status starts empty.
pub(super) fn empty_status(object: &mut Value) {
    set(object, "status", json!({}));
}

/// Sets a field of an object; nothing happens to a value of another type, which validation reports.
pub(super) fn set(object: &mut Value, key: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(key.to_owned(), value);
    }
}

/// The fields of the object in a field, which is made if it is absent; `None` if it is of another type.
pub(super) fn inside<'a>(object: &'a mut Value, key: &str) -> Option<&'a mut Map<String, Value>> {
    let field = object.as_object_mut()?.entry(key).or_insert(Value::Null);
    if field.is_null() {
        *field = json!({});
    }
    field.as_object_mut()
}

/// Makes `new[key]` what `old[key]` is, absent if it is absent there.
pub(super) fn carry_over(new: &mut Value, old: &Value, key: &str) {
    let Some(fields) = new.as_object_mut() else { return };
    match old.get(key) {
        Some(value) => fields.insert(key.to_owned(), value.clone()),
        None => fields.remove(key),
    };
}

/// The same for a field of the metadata.
pub(super) fn carry_over_metadata(new: &mut Value, old: &Value, key: &str) {
    carry_over(&mut new["metadata"], &old["metadata"], key);
}

/// Whether two objects ask for the same: equal in everything but identity, metadata and status.
fn same_spec(new: &Value, old: &Value) -> bool {
    let counts = |key: &str| !matches!(key, "apiVersion" | "kind" | "metadata" | "status");
    let (Some(new), Some(old)) = (new.as_object(), old.as_object()) else { return false };
    let mut keys = new.keys().chain(old.keys()).filter(|key| counts(key));
    keys.all(|key| same(new.get(key), old.get(key)))
}

fn same_annotations(new: &Value, old: &Value) -> bool {
    let annotations = |object: &Value| object["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
    annotations(new) == annotations(old)
}

/// Equality in which absent, null and `[]` are the same, as they are to upstream. `{}` is not: `namespaceSelector: {}` means all.
fn same(a: Option<&Value>, b: Option<&Value>) -> bool {
    match (a.filter(|value| !is_empty(value)), b.filter(|value| !is_empty(value))) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => a.keys().chain(b.keys()).all(|key| same(a.get(key), b.get(key))),
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(Some(a), Some(b)))
        }
        (a, b) => a == b,
    }
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_array().is_some_and(Vec::is_empty)
}
