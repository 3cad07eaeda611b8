//! The kind of coordination.k8s.io.

use super::{BASE, Kind};

/// coordination.k8s.io/v1 Lease.
pub const LEASE: Kind = Kind { group: "coordination.k8s.io", kind: "Lease", plural: "leases", singular: "lease", ..BASE };
