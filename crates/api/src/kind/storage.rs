//! The kind of storage.k8s.io.

use super::{BASE, Kind};
use crate::columns;

/// storage.k8s.io/v1 StorageClass.
pub const STORAGE_CLASS: Kind = Kind {
    group: "storage.k8s.io",
    kind: "StorageClass",
    plural: "storageclasses",
    singular: "storageclass",
    short_names: &["sc"],
    namespaced: false,
    columns: columns::storage::STORAGE_CLASS,
    row: columns::storage::storage_class,
    ..BASE
};
