//! Table answers: what `kubectl get` prints, column for column as upstream's server does.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::kind::Kind;

pub mod age;
pub(crate) mod autoscaling;
pub(crate) mod batch;
mod cell;
pub(crate) mod config;
pub(crate) mod event;
pub(crate) mod networking;
pub(crate) mod node;
pub(crate) mod pod;
pub(crate) mod rbac;
pub(crate) mod scale;
pub(crate) mod service;
pub(crate) mod storage;
pub(crate) mod workload;

/// One column of a Table answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Heading as kubectl prints it (kubectl upper-cases it).
    pub name: &'static str,
    /// OpenAPI type: `string`, `integer`, `boolean`, `date`.
    pub kind: &'static str,
    /// OpenAPI format: `name` for the column that holds the name, otherwise empty.
    pub format: &'static str,
    /// 0 is always shown, 1 only with `-o wide`.
    pub priority: i32,
    /// A sentence about it; ours are empty, as the headings say it.
    pub description: &'static str,
}

impl Column {
    /// The column of the object's name.
    pub(crate) const NAME: Self = Self { format: "name", ..Self::text("Name") };
    /// The column of the object's age.
    pub(crate) const AGE: Self = Self::text("Age");

    pub(crate) const fn text(name: &'static str) -> Self {
        Self { name, kind: "string", format: "", priority: 0, description: "" }
    }

    pub(crate) const fn integer(name: &'static str) -> Self {
        Self { kind: "integer", ..Self::text(name) }
    }

    pub(crate) const fn boolean(name: &'static str) -> Self {
        Self { kind: "boolean", ..Self::text(name) }
    }

    /// Shown with `-o wide` only.
    pub(crate) const fn wide(name: &'static str) -> Self {
        Self { priority: 1, ..Self::text(name) }
    }
}

/// Columns of a kind that upstream has no printer for.
pub const NAME_AND_CREATED: &[Column] = &[Column::NAME, Column { kind: "date", ..Column::text("Created At") }];

/// The row of a kind that upstream has no printer for.
pub fn name_and_created(object: &Value, _now: Timestamp) -> Vec<Value> {
    vec![cell::name(object), object["metadata"]["creationTimestamp"].clone()]
}

/// How much of each object its row carries: `?includeObject=`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IncludeObject {
    /// Nothing.
    None,
    /// Its metadata, as PartialObjectMetadata.
    #[default]
    Metadata,
    /// All of it.
    Object,
}

impl IncludeObject {
    /// The policy of that name; absent and empty mean `Metadata`.
    pub fn parse(name: Option<&str>) -> Option<Self> {
        match name {
            None | Some("" | "Metadata") => Some(Self::Metadata),
            Some("None") => Some(Self::None),
            Some("Object") => Some(Self::Object),
            Some(_) => None,
        }
    }
}

/// How a Table is asked for.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// What the ages count to.
    pub now: Timestamp,
    /// What of the objects goes with the rows.
    pub include: IncludeObject,
    /// Whether the columns are described; a watch says them with its first event only.
    pub describe_columns: bool,
}

/// The meta.k8s.io/v1 Table of some objects; `metadata` is that of the list, or of the one object.
pub fn table<'a>(kind: &Kind, objects: impl IntoIterator<Item = &'a Value>, metadata: &Value, view: View) -> Value {
    table_of(kind.columns, kind.row, objects, metadata, view)
}

/// The Table of an autoscaling/v1 Scale.
pub fn scale_table(scale: &Value, view: View) -> Value {
    table_of(scale::COLUMNS, scale::row, [scale], &scale["metadata"], view)
}

fn table_of<'a>(
    columns: &[Column],
    row: fn(&Value, Timestamp) -> Vec<Value>,
    objects: impl IntoIterator<Item = &'a Value>,
    metadata: &Value,
    view: View,
) -> Value {
    let definitions = || columns.iter().map(definition).collect::<Value>();
    let rows = objects.into_iter().map(|object| {
        let mut entry = json!({ "cells": row(object, view.now), "object": included(object, view.include) });
        if let Some(conditions) = pod::row_conditions(object) {
            entry["conditions"] = conditions;
        }
        entry
    });
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": list_metadata(metadata),
        "columnDefinitions": if view.describe_columns { definitions() } else { Value::Null },
        "rows": rows.collect::<Value>(),
    })
}

/// Of an object that is alone in its Table, only the revision is taken.
fn list_metadata(metadata: &Value) -> Value {
    let keys = ["resourceVersion", "continue", "remainingItemCount"];
    keys.into_iter().filter_map(|key| Some((key.to_owned(), metadata.get(key)?.clone()))).collect()
}

fn definition(column: &Column) -> Value {
    let Column { name, kind, format, priority, description } = column;
    json!({ "name": name, "type": kind, "format": format, "description": description, "priority": priority })
}

fn included(object: &Value, include: IncludeObject) -> Value {
    match include {
        IncludeObject::None => Value::Null,
        IncludeObject::Metadata => partial_metadata(object),
        IncludeObject::Object => object.clone(),
    }
}

/// The meta.k8s.io/v1 PartialObjectMetadata of an object.
pub fn partial_metadata(object: &Value) -> Value {
    json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"] })
}

/// The meta.k8s.io/v1 PartialObjectMetadataList of some objects; `metadata` is that of their list.
pub fn partial_metadata_list<'a>(objects: impl IntoIterator<Item = &'a Value>, metadata: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadataList",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "items": objects.into_iter().map(partial_metadata).collect::<Value>(),
    })
}

#[cfg(test)]
mod tests;
