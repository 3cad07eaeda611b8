//! The kind of coordination.k8s.io.

use super::{BASE, Kind};
use crate::columns;

/// coordination.k8s.io/v1 Lease.
pub const LEASE: Kind = Kind {
    group: "coordination.k8s.io",
    kind: "Lease",
    plural: "leases",
    singular: "lease",
    columns: columns::config::LEASE,
    row: columns::config::lease,
    creates_on_update: true,
    updates_unconditionally: false,
    ..BASE
};
