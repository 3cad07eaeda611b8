//! Every object type as a JSON schema, with the extensions that tell clients how its lists merge.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::descriptions::Descriptions;
use super::{Dialect, Served};
use crate::kind::Subresource;
use crate::schema::{self, Field, ListType, Message, Shape, Type};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// Name of the model of a kind, such as `io.k8s.api.apps.v1.Deployment`.
pub(super) fn of_kind(group: &str, version: &str, kind: &str) -> Option<String> {
    schema::message(group, version, kind).map(Message::model)
}

/// The group, version and kind of what a subresource takes and answers, where it is not the object itself.
pub(super) fn of_subresource(subresource: Subresource) -> Option<(&'static str, &'static str, &'static str)> {
    match subresource {
        Subresource::Scale => Some(("autoscaling", "v1", "Scale")),
        Subresource::Binding => Some(("", "v1", "Binding")),
        Subresource::Eviction => Some(("policy", "v1", "Eviction")),
        Subresource::Token => Some(("authentication.k8s.io", "v1", "TokenRequest")),
        Subresource::Status
        | Subresource::Log
        | Subresource::EphemeralContainers
        | Subresource::Resize
        | Subresource::Exec
        | Subresource::Attach
        | Subresource::PortForward
        | Subresource::Proxy(_)
        | Subresource::Finalize => None,
    }
}

/// Group, version and kind of everything that a document is about, subresources included.
pub(super) fn roots<'a>(served: &'a Served<'_>) -> impl Iterator<Item = (&'a str, &'a str, &'a str)> {
    let below = served.kinds.iter().flat_map(|kind| kind.subresources).filter_map(|subresource| of_subresource(*subresource));
    let own = served.kinds.iter().map(|kind| (kind.group, kind.version, kind.kind));
    own.chain(served.posted.iter().map(|posted| (posted.group, posted.version, posted.kind))).chain(below)
}

/// The models of what is served and of all that it contains, by name.
pub(super) fn all(served: &Served<'_>, dialect: Dialect) -> Value {
    let descriptions = Descriptions::of(served);
    let mut models = Map::new();
    for message in reachable(served).values() {
        models.insert(message.model(), model(message, served, dialect, &descriptions));
    }
    for (name, mut schema) in special(dialect) {
        describe(&mut schema, descriptions.of_model(name));
        models.insert(name.to_owned(), schema);
    }
    Value::Object(models)
}

fn reachable(served: &Served<'_>) -> BTreeMap<String, &'static Message> {
    let mut found: BTreeMap<String, &'static Message> = BTreeMap::new();
    let mut open: Vec<&'static Message> = Vec::new();
    for (group, version, kind) in roots(served) {
        open.extend(schema::message(group, version, kind));
        open.extend(schema::message(group, version, &format!("{kind}List")));
    }
    open.extend(["DeleteOptions", "Status", "WatchEvent"].iter().filter_map(|kind| schema::message("", "v1", kind)));
    while let Some(message) = open.pop() {
        if found.insert(message.model(), message).is_none() {
            open.extend(message.fields().iter().filter_map(Field::message));
        }
    }
    found
}

fn describe(schema: &mut Value, description: Option<&str>) {
    if let Some(description) = description {
        schema["description"] = description.into();
    }
}

fn model(message: &'static Message, served: &Served<'_>, dialect: Dialect, descriptions: &Descriptions) -> Value {
    let name = message.model();
    let mut properties = Map::new();
    for field in message.fields() {
        let mut property = property(field, dialect);
        let items = (field.name == "items").then(|| items_of(message, served)).flatten();
        let description = items.as_deref().or_else(|| descriptions.of_property(&name, field.name));
        if dialect == Dialect::V3
            && let Some(reference) = property.as_object_mut().and_then(|property| property.remove("$ref"))
        {
            // Beside `$ref`, OpenAPI 3.0 ignores everything else: `x-kubernetes-patch-strategy`, by which kubectl makes its patches.
            property["allOf"] = json!([{ "$ref": reference }]);
            if matches!(field.ty, Type::Message(_)) && !field.pointer {
                property["default"] = json!({});
            }
        }
        describe(&mut property, description);
        properties.insert(field.name.to_owned(), property);
    }
    if message.kind {
        for (key, description) in [("apiVersion", API_VERSION), ("kind", KIND)] {
            properties.insert(key.to_owned(), json!({ "type": "string", "description": description }));
        }
    }
    let mut schema = json!({ "type": "object" });
    describe(&mut schema, descriptions.of_model(&name));
    if !properties.is_empty() {
        schema["properties"] = Value::Object(properties);
    }
    let required: Vec<&str> = message.fields().iter().filter(|field| field.required).map(|field| field.name).collect();
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    if message.atomic {
        schema["x-kubernetes-map-type"] = "atomic".into();
    }
    if message.kind {
        schema["x-kubernetes-group-version-kind"] = group_version_kinds(message, served);
    }
    schema
}

/// What is in a list of a kind.
fn items_of(message: &Message, served: &Served<'_>) -> Option<String> {
    let element = message.name.strip_suffix("List")?;
    let kind = served.kinds.iter().find(|kind| kind.kind == element)?;
    Some(format!("List of {}", kind.plural))
}

const API_VERSION: &str = "Group and version of the schema that this object follows, such as apps/v1.";
const KIND: &str = "Name of the REST resource that this object stands for, in CamelCase. It cannot be changed.";

fn group_version_kinds(message: &Message, served: &Served<'_>) -> Value {
    let one = |group: &str, version: &str| json!({ "group": group, "kind": message.name, "version": version });
    if message.package == META && matches!(message.name, "DeleteOptions" | "WatchEvent") {
        return served.groups.iter().map(|(group, version)| one(group, version)).collect();
    }
    let (group, version) = message.group_version.split_once('/').unwrap_or(("", message.group_version));
    json!([one(if message.package == META { "" } else { group }, version)])
}

fn property(field: &Field, dialect: Dialect) -> Value {
    let element = element(field, dialect);
    let mut schema = match field.shape {
        Shape::One => element,
        Shape::List => json!({ "type": "array", "items": element }),
        Shape::Map => json!({ "type": "object", "additionalProperties": element }),
    };
    if let Ok(default) = serde_json::from_str::<Value>(field.default) {
        schema["default"] = default;
    }
    if field.atomic {
        schema["x-kubernetes-map-type"] = "atomic".into();
    }
    if field.shape == Shape::List {
        let list_type = match field.list_type {
            ListType::Atomic => "atomic",
            ListType::Set => "set",
            ListType::Map => "map",
        };
        schema["x-kubernetes-list-type"] = list_type.into();
        let keys: Vec<&str> = field.list_keys().collect();
        if !keys.is_empty() {
            schema["x-kubernetes-list-map-keys"] = keys.into();
        }
    }
    let strategies = [(field.merge, "merge"), (field.retain_keys, "retainKeys"), (field.replace, "replace")];
    let strategies: Vec<&str> = strategies.into_iter().filter(|(is, _)| *is).map(|(_, name)| name).collect();
    if !strategies.is_empty() {
        schema["x-kubernetes-patch-strategy"] = strategies.join(",").into();
    }
    if !field.merge_key.is_empty() {
        schema["x-kubernetes-patch-merge-key"] = field.merge_key.into();
    }
    schema
}

fn element(field: &Field, dialect: Dialect) -> Value {
    match field.ty {
        Type::Bool => json!({ "type": "boolean" }),
        Type::Int32 => json!({ "type": "integer", "format": "int32" }),
        Type::Int64 => json!({ "type": "integer", "format": "int64" }),
        Type::String => json!({ "type": "string" }),
        Type::Bytes => json!({ "type": "string", "format": "byte" }),
        Type::Strings => json!({ "type": "array", "items": { "type": "string" } }),
        Type::Quantity => dialect.reference(QUANTITY),
        Type::IntOrString => dialect.reference(INT_OR_STRING),
        Type::RawExtension => dialect.reference(RAW_EXTENSION),
        Type::Time => dialect.reference(TIME),
        Type::MicroTime => dialect.reference(MICRO_TIME),
        Type::FieldsV1 => dialect.reference(FIELDS_V1),
        Type::Message(_) => {
            field.message().map_or_else(|| json!({ "type": "object" }), |inner| dialect.reference(&inner.model()))
        }
    }
}

const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";
const RAW_EXTENSION: &str = "io.k8s.apimachinery.pkg.runtime.RawExtension";
const TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Time";
const MICRO_TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime";
const FIELDS_V1: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1";

fn special(dialect: Dialect) -> [(&'static str, Value); 6] {
    let (quantity, int_or_string) = match dialect {
        Dialect::V2 => (json!({ "type": "string" }), json!({ "type": "string", "format": "int-or-string" })),
        Dialect::V3 => (
            json!({ "oneOf": [{ "type": "string" }, { "type": "number" }] }),
            json!({ "oneOf": [{ "type": "integer" }, { "type": "string" }], "format": "int-or-string" }),
        ),
    };
    [
        (QUANTITY, quantity),
        (INT_OR_STRING, int_or_string),
        (RAW_EXTENSION, json!({ "type": "object" })),
        (TIME, json!({ "type": "string", "format": "date-time" })),
        (MICRO_TIME, json!({ "type": "string", "format": "date-time" })),
        (FIELDS_V1, json!({ "type": "object" })),
    ]
}
