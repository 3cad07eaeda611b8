//! The kind of events.k8s.io: a second view of the core group's events.

use super::{BASE, Kind, SelectableField};
use crate::columns;

const fn at(name: &'static str, pointer: &'static [&'static str]) -> SelectableField {
    SelectableField { name, pointers: pointer, default: "" }
}

/// events.k8s.io/v1 Event; stored as core v1 Event, see [`crate::events`].
pub const EVENT: Kind = Kind {
    group: "events.k8s.io",
    kind: "Event",
    plural: "events",
    singular: "event",
    short_names: &["ev"],
    stored_as: Some(("", "events")),
    selectable: &[
        at("reason", &["/reason"]),
        at("regarding.kind", &["/regarding/kind"]),
        at("regarding.namespace", &["/regarding/namespace"]),
        at("regarding.name", &["/regarding/name"]),
        at("regarding.uid", &["/regarding/uid"]),
        at("regarding.apiVersion", &["/regarding/apiVersion"]),
        at("regarding.resourceVersion", &["/regarding/resourceVersion"]),
        at("regarding.fieldPath", &["/regarding/fieldPath"]),
        at("reportingController", &["/reportingController"]),
        at("type", &["/type"]),
    ],
    columns: columns::event::COLUMNS,
    row: columns::event::row_of_events_group,
    creates_on_update: true,
    ..BASE
};
