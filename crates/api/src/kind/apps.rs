//! Kinds of apps: the workloads.

use serde_json::Value;

use super::{BASE, Generation, Kind, Subresource, prepare};
use crate::columns;

const WORKLOAD: Kind = Kind { group: "apps", categories: &["all"], generation: Generation::Spec, ..BASE };

/// apps/v1 ControllerRevision.
pub const CONTROLLER_REVISION: Kind = Kind {
    group: "apps",
    kind: "ControllerRevision",
    plural: "controllerrevisions",
    singular: "controllerrevision",
    columns: columns::workload::CONTROLLER_REVISION,
    row: columns::workload::controller_revision,
    ..BASE
};

/// apps/v1 DaemonSet.
pub const DAEMON_SET: Kind = Kind {
    kind: "DaemonSet",
    plural: "daemonsets",
    singular: "daemonset",
    short_names: &["ds"],
    subresources: &[Subresource::Status],
    initial: new_daemon_set,
    keep: keep_template_generation,
    columns: columns::workload::DAEMON_SET,
    row: columns::workload::daemon_set,
    ..WORKLOAD
};

/// apps/v1 Deployment.
pub const DEPLOYMENT: Kind = Kind {
    kind: "Deployment",
    plural: "deployments",
    singular: "deployment",
    short_names: &["deploy"],
    subresources: &[Subresource::Scale, Subresource::Status],
    generation: Generation::SpecAndAnnotations,
    initial: prepare::empty_status,
    keep_status: |new, old| prepare::carry_over_metadata(new, old, "labels"),
    columns: columns::workload::DEPLOYMENT,
    row: columns::workload::deployment,
    ..WORKLOAD
};

/// apps/v1 ReplicaSet.
pub const REPLICA_SET: Kind = Kind {
    kind: "ReplicaSet",
    plural: "replicasets",
    singular: "replicaset",
    short_names: &["rs"],
    subresources: &[Subresource::Scale, Subresource::Status],
    initial: prepare::empty_status,
    columns: columns::workload::REPLICA_SET,
    row: columns::workload::replica_set,
    ..WORKLOAD
};

/// apps/v1 StatefulSet.
pub const STATEFUL_SET: Kind = Kind {
    kind: "StatefulSet",
    plural: "statefulsets",
    singular: "statefulset",
    short_names: &["sts"],
    subresources: &[Subresource::Scale, Subresource::Status],
    initial: prepare::empty_status,
    columns: columns::workload::STATEFUL_SET,
    row: columns::workload::stateful_set,
    ..WORKLOAD
};

/// Counts the templates a DaemonSet has had. Deprecated upstream since 1.9, and written to this day.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

fn new_daemon_set(object: &mut Value) {
    prepare::empty_status(object);
    let given = template_generation(object).filter(|generation| *generation >= 1);
    annotate(object, given.unwrap_or(1));
}

fn keep_template_generation(new: &mut Value, old: &Value) {
    let changed = new["spec"]["template"] != old["spec"]["template"];
    annotate(new, template_generation(old).unwrap_or(1) + i64::from(changed));
}

fn template_generation(object: &Value) -> Option<i64> {
    object["metadata"]["annotations"][TEMPLATE_GENERATION].as_str()?.parse().ok()
}

fn annotate(object: &mut Value, generation: i64) {
    if let Some(metadata) = object.get_mut("metadata")
        && let Some(annotations) = prepare::inside(metadata, "annotations")
    {
        annotations.insert(TEMPLATE_GENERATION.to_owned(), generation.to_string().into());
    }
}
