//! The row of an event.

use jiff::Timestamp;
use serde_json::Value;

use super::{
    Column, age,
    cell::{integer, text, text_or},
};
use crate::events;

pub(crate) const COLUMNS: &[Column] = &[
    Column::text("Last Seen"),
    Column::text("Type"),
    Column::text("Reason"),
    Column::text("Object"),
    Column::wide("Subobject"),
    Column::wide("Source"),
    Column::text("Message"),
    Column::wide("First Seen"),
    Column::wide("Count"),
    Column { format: "name", ..Column::wide("Name") },
];

/// Of an events.k8s.io/v1 Event.
pub(crate) fn row_of_events_group(event: &Value, now: Timestamp) -> Vec<Value> {
    row(&events::to_core(event), now)
}

/// Of a core v1 Event.
pub(crate) fn row(event: &Value, now: Timestamp) -> Vec<Value> {
    let (series, involved) = (&event["series"], &event["involvedObject"]);
    let first_of = |timestamps: &[&Value]| {
        let present = timestamps.iter().find(|timestamp| age::parse(timestamp).is_some());
        age::since(present.copied().unwrap_or(&Value::Null), now)
    };
    let first_seen = first_of(&[&event["firstTimestamp"], &event["eventTime"]]);
    let last_seen = first_of(&[&event["lastTimestamp"], &event["firstTimestamp"], &event["eventTime"]]);
    let (last_seen, count) = match integer(&event["count"]) {
        _ if series.is_object() => (age::since(&series["lastObservedTime"], now), integer(&series["count"])),
        // An event that happened once has no count in the newer group.
        0 => (last_seen, 1),
        count => (last_seen, count),
    };
    let kind = text(&involved["kind"]).to_lowercase();
    let object = match text(&involved["name"]) {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    vec![
        last_seen.into(),
        text(&event["type"]).into(),
        text(&event["reason"]).into(),
        object.into(),
        text(&involved["fieldPath"]).into(),
        source(event).into(),
        text(&event["message"]).trim().into(),
        first_seen.into(),
        count.into(),
        text(&event["metadata"]["name"]).into(),
    ]
}

fn source(event: &Value) -> String {
    let component = text_or(&event["source"]["component"], text(&event["reportingComponent"]));
    match text_or(&event["source"]["host"], text(&event["reportingInstance"])) {
        "" => component.to_owned(),
        instance => format!("{component}, {instance}"),
    }
}
