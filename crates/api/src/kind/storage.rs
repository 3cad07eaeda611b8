//! The kind of storage.k8s.io.

use super::{BASE, Kind};

/// storage.k8s.io/v1 StorageClass.
pub const STORAGE_CLASS: Kind = Kind {
    group: "storage.k8s.io",
    kind: "StorageClass",
    plural: "storageclasses",
    singular: "storageclass",
    short_names: &["sc"],
    namespaced: false,
    ..BASE
};
