//! The kind of events.k8s.io: a second view of the core group's events.

use super::{BASE, Kind, SelectableField, Shared};
use crate::{columns, events};

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
    stored_as: Some(Shared {
        group: "",
        version: "v1",
        plural: "events",
        to_stored: events::to_core,
        from_stored: events::from_core,
    }),
    selectable: &[
        at("reason", &["/reason"]),
        at("regarding.kind", &["/involvedObject/kind"]),
        at("regarding.namespace", &["/involvedObject/namespace"]),
        at("regarding.name", &["/involvedObject/name"]),
        at("regarding.uid", &["/involvedObject/uid"]),
        at("regarding.apiVersion", &["/involvedObject/apiVersion"]),
        at("regarding.resourceVersion", &["/involvedObject/resourceVersion"]),
        at("regarding.fieldPath", &["/involvedObject/fieldPath"]),
        at("reportingController", &["/reportingComponent"]),
        at("type", &["/type"]),
    ],
    columns: columns::event::COLUMNS,
    row: columns::event::row_of_events_group,
    creates_on_update: true,
    ..BASE
};
