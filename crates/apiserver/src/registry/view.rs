//! Projections of objects: whole, as table rows, or metadata alone.

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use serde_json::{Value, json};
use windlass_api::{
    columns::{self, IncludeObject},
    kind::Kind,
    status::Status,
};
use windlass_storage::{Entry, Revision};

use crate::{negotiate::View, registry};

/// How one request wants to see objects of one kind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Projection {
    pub(crate) kind: &'static Kind,
    pub(crate) view: View,
    pub(crate) include: IncludeObject,
    pub(crate) now: Timestamp,
}

impl Projection {
    /// The answer that holds this one object.
    pub(crate) fn object(&self, object: Value) -> Value {
        match self.view {
            View::Whole => object,
            View::Metadata(version) => partial(version, &object),
            View::Table(version) => self.table(version, &object["metadata"], std::slice::from_ref(&object), true),
        }
    }

    /// The JSON of the answer that holds the object of this entry.
    pub(crate) fn entry(&self, entry: &Entry, revision: Revision) -> Result<Bytes, Status> {
        match self.view {
            View::Whole => registry::json(self.kind, entry, revision),
            _ => Ok(self.object(registry::decode(self.kind, entry, revision)?).to_string().into()),
        }
    }

    /// Appends the object of a watch event; a table has its columns only in the first event.
    pub(crate) fn append_event(&self, out: &mut BytesMut, entry: &Entry, at: Revision, first: bool) -> Result<(), Status> {
        match self.view {
            View::Whole => registry::append_json(out, self.kind, entry, at),
            View::Metadata(version) => {
                let object = registry::decode(self.kind, entry, at)?;
                out.extend_from_slice(partial(version, &object).to_string().as_bytes());
                Ok(())
            }
            View::Table(version) => {
                let object = registry::decode(self.kind, entry, at)?;
                let table = self.table(version, &object["metadata"], std::slice::from_ref(&object), first);
                out.extend_from_slice(table.to_string().as_bytes());
                Ok(())
            }
        }
    }

    /// An object with nothing but its revision and annotations, for a bookmark.
    pub(crate) fn bookmark(&self, revision: Revision, initial_end: bool) -> Value {
        let mut metadata = json!({ "resourceVersion": revision.to_string(), "creationTimestamp": null });
        if initial_end {
            metadata["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
        }
        match self.view {
            View::Whole => json!({ "kind": self.kind.kind, "apiVersion": self.kind.api_version(), "metadata": metadata }),
            View::Metadata(version) => partial(version, &json!({ "metadata": metadata })),
            View::Table(version) => {
                let mut table = self.table(version, &metadata, &[], false);
                table["rows"] = json!([{ "cells": [], "object": partial(version, &json!({ "metadata": metadata })) }]);
                table
            }
        }
    }

    /// The JSON of a list.
    pub(crate) fn list(&self, metadata: Value, entries: &[Entry]) -> Result<Bytes, Status> {
        let mut out = BytesMut::with_capacity(256 + entries.iter().map(|entry| entry.value.len() + 48).sum::<usize>());
        let (kind, version) = match self.view {
            View::Whole => (format!("{}List", self.kind.kind), self.kind.api_version()),
            View::Metadata(version) => ("PartialObjectMetadataList".to_owned(), format!("meta.k8s.io/{version}")),
            View::Table(version) => {
                let objects = entries.iter().map(|entry| registry::decode(self.kind, entry, entry.mod_revision));
                let objects = objects.collect::<Result<Vec<_>, Status>>()?;
                return Ok(self.table(version, &metadata, &objects, true).to_string().into());
            }
        };
        let head = format!("{{\"kind\":\"{kind}\",\"apiVersion\":\"{version}\",\"metadata\":{metadata},\"items\":[");
        out.extend_from_slice(head.as_bytes());
        for (index, entry) in entries.iter().enumerate() {
            if index > 0 {
                out.extend_from_slice(b",");
            }
            self.append_event(&mut out, entry, entry.mod_revision, false)?;
        }
        out.extend_from_slice(b"]}\n");
        Ok(out.freeze())
    }

    /// The list of objects that are nowhere stored.
    pub(crate) fn values(&self, metadata: &Value, objects: &[Value]) -> Value {
        let (kind, version) = match self.view {
            View::Whole => (format!("{}List", self.kind.kind), self.kind.api_version()),
            View::Metadata(version) => ("PartialObjectMetadataList".to_owned(), format!("meta.k8s.io/{version}")),
            View::Table(version) => return self.table(version, metadata, objects, true),
        };
        let items: Vec<Value> = objects.iter().cloned().map(|object| self.object(object)).collect();
        json!({ "kind": kind, "apiVersion": version, "metadata": metadata, "items": items })
    }

    fn table(&self, version: &str, metadata: &Value, objects: &[Value], describe_columns: bool) -> Value {
        let view = columns::View { now: self.now, include: self.include, describe_columns };
        let mut table = columns::table(self.kind, objects, metadata, view);
        if version != "v1" {
            table["apiVersion"] = format!("meta.k8s.io/{version}").into();
        }
        table
    }
}

fn partial(version: &str, object: &Value) -> Value {
    let mut partial = columns::partial_metadata(object);
    if version != "v1" {
        partial["apiVersion"] = format!("meta.k8s.io/{version}").into();
    }
    partial
}
