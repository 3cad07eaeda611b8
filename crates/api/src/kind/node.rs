//! The kind of node.k8s.io.

use super::{BASE, Kind};
use crate::columns;

/// node.k8s.io/v1 RuntimeClass: which runtime pods ask for by its name, and what comes with that.
pub const RUNTIME_CLASS: Kind = Kind {
    group: "node.k8s.io",
    kind: "RuntimeClass",
    plural: "runtimeclasses",
    singular: "runtimeclass",
    namespaced: false,
    columns: columns::node::RUNTIME_CLASS,
    row: columns::node::runtime_class,
    creates_on_update: true,
    updates_unconditionally: false,
    ..BASE
};
