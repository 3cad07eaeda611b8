//! What the types of the Kubernetes API look like: fields, wire numbers, patch strategies and list types.
//!
//! The facts are one small text, written by `cargo xtask schema` and parsed once, on first use (well under a millisecond in
//! a release build). Everything that must know a field by name reads them here: the protobuf codec, field validation,
//! patches, server-side apply and OpenAPI.

mod check;
mod mismatch;
mod prune;
mod strict;
mod table;

pub use check::{check, strict_error};
pub use mismatch::{convert_error, decode_error};
pub use prune::prune;
pub use strict::strict;

use std::sync::OnceLock;

use serde_json::Value;
use table::Table;

/// Type of a field, or of its elements where it is a list or a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// A JSON boolean.
    Bool,
    /// A JSON number without fraction, 32 bits.
    Int32,
    /// A JSON number without fraction, 64 bits.
    Int64,
    /// A JSON string.
    String,
    /// A JSON string in base64.
    Bytes,
    /// A JSON string such as `100m`; a plain number is taken too.
    Quantity,
    /// RFC 3339 with seconds.
    Time,
    /// RFC 3339 with microseconds.
    MicroTime,
    /// A number or a string, `25%`.
    IntOrString,
    /// Any object.
    RawExtension,
    /// The field sets of `metadata.managedFields`.
    FieldsV1,
    /// A list of strings that protobuf wraps in a message of its own.
    Strings,
    /// An object of the fields of another message.
    Message(u16),
}

/// How many of a [`Type`] a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One.
    One,
    /// A list.
    List,
    /// An object with free keys.
    Map,
}

/// Who may own what in a list, under server-side apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListType {
    /// The whole list has one owner.
    Atomic,
    /// Each scalar has its owners.
    Set,
    /// Each object, found by [`Field::list_keys`], has its owners.
    Map,
}

/// One field of a [`Message`].
#[derive(Debug)]
pub struct Field {
    /// Name in JSON.
    pub name: &'static str,
    /// Number in protobuf; 0 where this build does not know it, and protobuf leaves the field out.
    pub number: u32,
    /// Number of the embedded message that holds it in protobuf, though not in JSON; 0 where there is none.
    pub via: u32,
    /// Type of the value, or of each element.
    pub ty: Type,
    /// One, a list or a map.
    pub shape: Shape,
    /// Whether an object without it is incomplete; its zero value is written out.
    pub required: bool,
    /// Whether an explicit zero counts, as Go holds a pointer, or writes the field even when it is empty. A struct without is
    /// always there, if only as an empty object.
    pub pointer: bool,
    /// Whether a strategic merge patch merges the list, rather than replacing it.
    pub merge: bool,
    /// Whether a strategic merge patch takes `$retainKeys` here.
    pub retain_keys: bool,
    /// Whether a strategic merge patch replaces the object, rather than merging it.
    pub replace: bool,
    /// Key that a strategic merge patch finds list elements by; empty for lists of scalars.
    pub merge_key: &'static str,
    /// List type under server-side apply.
    pub list_type: ListType,
    /// Whether server-side apply treats the object or map as one value.
    pub atomic: bool,
    /// Name of the Go type of a scalar that has one of its own, such as `v1.RestartPolicy`; otherwise empty.
    pub go_type: &'static str,
    /// Default, as JSON; empty where the schema has none.
    pub default: &'static str,
    keys: &'static str,
}

impl Field {
    /// Keys that tell the elements of a list of type `map` apart.
    pub fn list_keys(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.keys.split(',').filter(|key| !key.is_empty())
    }

    /// Whether a value says something, or is only the zero of a field that was never set, which Go leaves out.
    ///
    /// An empty object stays where it is a message: it may be a pointer that was set, such as `emptyDir: {}`.
    pub fn keeps(&self, value: &Value) -> bool {
        match (self.shape, value) {
            (_, Value::Null) => false,
            _ if self.pointer || self.required => true,
            (Shape::List, Value::Array(items)) => !items.is_empty(),
            (Shape::Map, Value::Object(map)) => !map.is_empty(),
            (Shape::One, Value::Bool(value)) => *value,
            (Shape::One, Value::Number(number)) => number.as_i64() != Some(0),
            (Shape::One, Value::String(text)) => !text.is_empty(),
            _ => true,
        }
    }

    /// The message of its values, where they have one.
    pub fn message(&self) -> Option<&'static Message> {
        match self.ty {
            Type::Message(index) => table().messages.get(usize::from(index)),
            _ => None,
        }
    }
}

/// One object type of the API.
#[derive(Debug)]
pub struct Message {
    /// Name, such as `DeploymentSpec`.
    pub name: &'static str,
    /// Package as OpenAPI names it, such as `io.k8s.api.apps.v1`.
    pub package: &'static str,
    /// Group and version of the package, such as `apps/v1`, or `v1` for core.
    pub group_version: &'static str,
    /// Whether it carries `apiVersion` and `kind` itself.
    pub kind: bool,
    /// Whether server-side apply treats it as one value.
    pub atomic: bool,
    fields: Vec<Field>,
}

impl Message {
    /// All fields, by name; `apiVersion` and `kind` are not among them.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The field with that JSON name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.binary_search_by(|field| field.name.cmp(name)).ok().and_then(|index| self.fields.get(index))
    }

    /// The field with that number in protobuf; `via` is 0 outside of embedded messages.
    pub fn field_numbered(&self, number: u32, via: u32) -> Option<&Field> {
        self.fields.iter().find(|field| field.number == number && field.via == via && number != 0)
    }

    /// Whether protobuf keeps some of its fields in the embedded message of that number.
    pub fn embeds(&self, number: u32) -> bool {
        number != 0 && self.fields.iter().any(|field| field.via == number)
    }

    /// Name as OpenAPI has it, such as `io.k8s.api.apps.v1.Deployment`.
    pub fn model(&self) -> String {
        format!("{}.{}", self.package, self.name)
    }

    /// Name as Go prints it, such as `v1.Deployment`.
    pub fn go_type(&self) -> String {
        format!("{}.{}", self.group_version.rsplit('/').next().unwrap_or_default(), self.name)
    }
}

/// Kinds of `meta/v1` that every group and version knows.
const EVERYWHERE: &[&str] =
    &["CreateOptions", "DeleteOptions", "GetOptions", "ListOptions", "PatchOptions", "Status", "UpdateOptions", "WatchEvent"];

/// The message of a kind; `group` is empty for core.
pub fn message(group: &str, version: &str, kind: &str) -> Option<&'static Message> {
    let table = table();
    let package = if EVERYWHERE.contains(&kind) { table.package("meta.k8s.io", "v1") } else { table.package(group, version) };
    package?.message(&table.messages, kind).filter(|message| message.kind)
}

/// The message of that model name, such as `io.k8s.api.core.v1.PodSpec`.
pub fn model(name: &str) -> Option<&'static Message> {
    let table = table();
    let (package, message) = name.rsplit_once('.')?;
    table.packages.iter().find(|known| known.name == package)?.message(&table.messages, message)
}

fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| Table::parse(include_str!("schema/facts.txt")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_found_by_group_and_version() {
        for (group, version, kind, model) in [
            ("apps", "v1", "Deployment", Some("io.k8s.api.apps.v1.Deployment")),
            ("", "v1", "Pod", Some("io.k8s.api.core.v1.Pod")),
            ("apps", "v1", "DeleteOptions", Some("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions")),
            ("autoscaling", "v1", "Scale", Some("io.k8s.api.autoscaling.v1.Scale")),
            ("events.k8s.io", "v1", "Event", Some("io.k8s.api.events.v1.Event")),
            ("", "v1", "PodSpec", None),
            ("apps", "v2", "Deployment", None),
            ("", "v1", "Widget", None),
        ] {
            assert_eq!(message(group, version, kind).map(Message::model).as_deref(), model, "{group}/{version} {kind}");
        }
    }

    #[test]
    fn fields_carry_what_patches_need() {
        let pod = message("", "v1", "Pod").and_then(|pod| pod.field("spec")).and_then(Field::message).expect("Pod has a spec");
        let containers = pod.field("containers").expect("a pod has containers");
        assert_eq!((containers.merge, containers.merge_key, containers.list_type), (true, "name", ListType::Map));
        assert_eq!(containers.list_keys().collect::<Vec<_>>(), ["name"]);
        let ports = containers.message().and_then(|container| container.field("ports")).expect("a container has ports");
        assert_eq!(ports.list_keys().collect::<Vec<_>>(), ["containerPort", "protocol"]);
        assert!(pod.field("nodeSelector").is_some_and(|field| field.atomic && field.shape == Shape::Map));
        assert!(pod.field("volumes").is_some_and(|field| field.merge && field.retain_keys));
        assert!(pod.field("terminationGracePeriodSeconds").is_some_and(|field| field.pointer));
    }

    #[test]
    fn embedded_structs_are_flat_in_json() {
        let volume = model("io.k8s.api.core.v1.Volume").expect("core has Volume");
        assert!(volume.field("emptyDir").is_some_and(|field| field.via == 2));
        assert!(volume.embeds(2) && !volume.embeds(1) && !volume.embeds(0));
    }
}
