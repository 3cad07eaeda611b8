//! The kind of autoscaling, in two versions that share their objects.

use serde_json::Value;

use super::{BASE, Kind, Shared, Subresource, prepare};
use crate::{
    autoscaling::{SPEC_ANNOTATIONS, STATUS_ANNOTATIONS, from_v2, to_v2},
    columns,
};

/// autoscaling/v2 HorizontalPodAutoscaler, which is stored.
pub const HORIZONTAL_POD_AUTOSCALER: Kind = Kind {
    group: "autoscaling",
    version: "v2",
    kind: "HorizontalPodAutoscaler",
    plural: "horizontalpodautoscalers",
    singular: "horizontalpodautoscaler",
    short_names: &["hpa"],
    categories: &["all"],
    subresources: &[Subresource::Status],
    initial: prepare::empty_status,
    columns: columns::autoscaling::COLUMNS,
    row: columns::autoscaling::row,
    ..BASE
};

/// autoscaling/v1 HorizontalPodAutoscaler; stored as autoscaling/v2, see [`crate::autoscaling`].
pub const HORIZONTAL_POD_AUTOSCALER_V1: Kind = Kind {
    version: "v1",
    stored_as: Some(Shared {
        group: "autoscaling",
        version: "v2",
        plural: "horizontalpodautoscalers",
        to_stored: to_v2,
        from_stored: from_v2,
    }),
    initial: new_v1,
    keep: keep_status_annotations,
    keep_status: keep_spec_annotations,
    row: columns::autoscaling::row_of_v1,
    ..HORIZONTAL_POD_AUTOSCALER
};

fn new_v1(object: &mut Value) {
    prepare::empty_status(object);
    keep_annotations(object, &Value::Null, &STATUS_ANNOTATIONS);
}

/// Conditions and measured metrics are status, wherever they are written.
fn keep_status_annotations(new: &mut Value, old: &Value) {
    keep_annotations(new, old, &STATUS_ANNOTATIONS);
}

/// Metrics and behavior are spec, wherever they are written.
fn keep_spec_annotations(new: &mut Value, old: &Value) {
    keep_annotations(new, old, &SPEC_ANNOTATIONS);
}

fn keep_annotations(new: &mut Value, old: &Value, keys: &[&str]) {
    let before = |key: &str| old["metadata"]["annotations"].get(key);
    let Some(metadata) = prepare::inside(new, "metadata") else { return };
    if !metadata.contains_key("annotations") && keys.iter().all(|key| before(key).is_none()) {
        return;
    }
    let Some(annotations) = metadata.entry("annotations").or_insert_with(|| serde_json::json!({})).as_object_mut() else {
        return;
    };
    for key in keys {
        match before(key) {
            Some(value) => annotations.insert((*key).to_owned(), value.clone()),
            None => annotations.remove(*key),
        };
    }
}
