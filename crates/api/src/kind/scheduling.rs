//! The kind of scheduling.k8s.io.

use super::{BASE, Generation, Kind};
use crate::columns;

/// scheduling.k8s.io/v1 PriorityClass.
pub const PRIORITY_CLASS: Kind = Kind {
    group: "scheduling.k8s.io",
    kind: "PriorityClass",
    plural: "priorityclasses",
    singular: "priorityclass",
    short_names: &["pc"],
    namespaced: false,
    generation: Generation::Constant,
    columns: columns::config::PRIORITY_CLASS,
    row: columns::config::priority_class,
    ..BASE
};
