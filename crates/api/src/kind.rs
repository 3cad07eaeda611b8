//! The table of kinds: a new kind is a new entry here, never a new handler.

use jiff::Timestamp;
use serde_json::Value;

use crate::validation::FieldError;

/// One column of a Table answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Heading as kubectl prints it (kubectl upper-cases it).
    pub name: &'static str,
    /// OpenAPI type: `string`, `integer`, `boolean`, `date`.
    pub kind: &'static str,
    /// OpenAPI format: `name` for the first column, otherwise mostly empty.
    pub format: &'static str,
    /// 0 is always shown, 1 only with `-o wide`.
    pub priority: i32,
}

/// A field that a field selector may name, besides `metadata.name` and `metadata.namespace`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SelectableField {
    /// Name in the selector, such as `spec.nodeName`.
    pub name: &'static str,
    /// JSON pointer into the object.
    pub pointer: &'static str,
    /// Value of an absent field.
    pub default: &'static str,
}

/// What a kind does with an object on its way in and out. Every function is pure.
///
/// Objects are whole JSON values with `apiVersion`, `kind` and `metadata`.
#[derive(Debug, Clone, Copy)]
pub struct Strategy {
    /// Fills in upstream's defaults; idempotent.
    pub default: fn(&mut Value),
    /// Drops what a client may not set on create (status) and sets initial values; runs before `validate`.
    pub prepare_create: fn(&mut Value),
    /// Carries over what a write to the main resource may not change (status); `(new, old)`.
    pub prepare_update: fn(&mut Value, &Value),
    /// Mistakes in a new object; metadata is validated by the caller.
    pub validate: fn(&Value) -> Vec<FieldError>,
    /// Mistakes in a change, `validate` included; `(new, old)`.
    pub validate_update: fn(&Value, &Value) -> Vec<FieldError>,
    /// Mistakes in a write to `/status`; `(new, old)`.
    pub validate_status: fn(&Value, &Value) -> Vec<FieldError>,
    /// `Warning:` headers for a write that is allowed all the same.
    pub warnings: fn(&Value) -> Vec<String>,
    /// The cells of one table row, as many as the kind has columns.
    pub row: fn(&Value, Timestamp) -> Vec<Value>,
}

/// A resource below an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subresource {
    /// `/status`: writes touch only status (and some metadata).
    Status,
    /// `/scale`: autoscaling/v1 Scale.
    Scale,
    /// `/log` of a pod.
    Log,
    /// `/binding` of a pod.
    Binding,
    /// `/eviction` of a pod.
    Eviction,
    /// `/ephemeralcontainers` of a pod.
    EphemeralContainers,
    /// `/resize` of a pod.
    Resize,
    /// `/exec` of a pod.
    Exec,
    /// `/attach` of a pod.
    Attach,
    /// `/portforward` of a pod.
    PortForward,
    /// `/finalize` of a namespace.
    Finalize,
    /// `/token` of a service account.
    Token,
}

/// One kind in one group and version.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// API group, empty for core.
    pub group: &'static str,
    /// Version, such as `v1`.
    pub version: &'static str,
    /// Kind, such as `Deployment`.
    pub kind: &'static str,
    /// Lower-case plural, the path segment.
    pub plural: &'static str,
    /// Lower-case singular.
    pub singular: &'static str,
    /// What kubectl takes instead: `deploy`.
    pub short_names: &'static [&'static str],
    /// Such as `all`.
    pub categories: &'static [&'static str],
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// Resources below each object.
    pub subresources: &'static [Subresource],
    /// Whether a change of anything but metadata and status bumps `metadata.generation`.
    pub generation: bool,
    /// Group and plural under which the store keeps it, where two kinds share their objects (Event).
    pub stored_as: Option<(&'static str, &'static str)>,
    /// Columns of a Table answer, in order.
    pub columns: &'static [Column],
    /// Fields that a field selector may name.
    pub selectable: &'static [SelectableField],
    /// Its behaviour.
    pub strategy: Strategy,
}
