//! The kind of discovery.k8s.io.

use super::{BASE, Generation, Kind};
use crate::columns;

/// discovery.k8s.io/v1 EndpointSlice.
pub const ENDPOINT_SLICE: Kind = Kind {
    group: "discovery.k8s.io",
    kind: "EndpointSlice",
    plural: "endpointslices",
    singular: "endpointslice",
    generation: Generation::Spec,
    columns: columns::service::ENDPOINT_SLICE,
    row: columns::service::endpoint_slice,
    ..BASE
};
