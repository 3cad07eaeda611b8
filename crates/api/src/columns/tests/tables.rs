//! The envelope of a Table.

use expect_test::expect;
use serde_json::{Value, json};

use super::now;
use crate::{
    columns::{IncludeObject, View, partial_metadata_list, scale_table, table},
    kind::{apps::REPLICA_SET, core::POD, rbac::ROLE},
};

fn view(include: IncludeObject, describe_columns: bool) -> View {
    View { now: now(), include, describe_columns }
}

fn role() -> Value {
    json!({
        "kind": "Role", "apiVersion": "rbac.authorization.k8s.io/v1", "rules": [],
        "metadata": { "name": "reader", "creationTimestamp": "2024-01-01T00:00:00Z", "resourceVersion": "7" },
    })
}

#[test]
fn a_list_with_metadata() {
    let metadata = json!({ "resourceVersion": "12", "continue": "x", "remainingItemCount": 3, "selfLink": "" });
    let table = table(&ROLE, &[role()], &metadata, view(IncludeObject::Metadata, true));
    expect![[r#"
        {
          "apiVersion": "meta.k8s.io/v1",
          "columnDefinitions": [
            {
              "description": "",
              "format": "name",
              "name": "Name",
              "priority": 0,
              "type": "string"
            },
            {
              "description": "",
              "format": "",
              "name": "Created At",
              "priority": 0,
              "type": "date"
            }
          ],
          "kind": "Table",
          "metadata": {
            "continue": "x",
            "remainingItemCount": 3,
            "resourceVersion": "12"
          },
          "rows": [
            {
              "cells": [
                "reader",
                "2024-01-01T00:00:00Z"
              ],
              "object": {
                "apiVersion": "meta.k8s.io/v1",
                "kind": "PartialObjectMetadata",
                "metadata": {
                  "creationTimestamp": "2024-01-01T00:00:00Z",
                  "name": "reader",
                  "resourceVersion": "7"
                }
              }
            }
          ]
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&table).unwrap());
}

#[test]
fn later_events_of_a_watch_do_not_repeat_the_columns() {
    let table = table(&ROLE, &[role()], &role()["metadata"], view(IncludeObject::None, false));
    assert_eq!(table["columnDefinitions"], Value::Null);
    assert_eq!(table["rows"][0]["object"], Value::Null);
    assert_eq!(table["metadata"], json!({ "resourceVersion": "7" }));
}

#[test]
fn whole_objects_and_conditions() {
    let pod = json!({ "kind": "Pod", "metadata": { "name": "job" }, "status": { "phase": "Succeeded" } });
    let table = table(&POD, [&pod], &json!({}), view(IncludeObject::Object, true));
    assert_eq!(table["rows"][0]["object"], pod);
    assert_eq!(table["rows"][0]["conditions"][0]["type"], "Completed");
    assert_eq!(
        super::super::table(&REPLICA_SET, [&role()], &json!({}), view(IncludeObject::Object, true))["rows"][0]["conditions"],
        Value::Null
    );
}

#[test]
fn a_scale() {
    let scale = json!({ "metadata": { "name": "web" }, "spec": { "replicas": 3 }, "status": { "replicas": 2 } });
    let table = scale_table(&scale, view(IncludeObject::None, true));
    assert_eq!(table["rows"][0]["cells"], json!(["web", 3, 2, "<unknown>"]));
}

#[test]
fn metadata_alone() {
    let list = partial_metadata_list(&[role()], &json!({ "resourceVersion": "9" }));
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!(list["items"][0]["metadata"]["name"], "reader");
    assert_eq!(list["items"][0].get("rules"), None);
}

#[test]
fn policies() {
    assert_eq!(IncludeObject::parse(None), Some(IncludeObject::Metadata));
    assert_eq!(IncludeObject::parse(Some("Object")), Some(IncludeObject::Object));
    assert_eq!(IncludeObject::parse(Some("all")), None);
}
