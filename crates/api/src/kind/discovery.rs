//! The kind of discovery.k8s.io.

use super::{BASE, Generation, Kind};

/// discovery.k8s.io/v1 EndpointSlice.
pub const ENDPOINT_SLICE: Kind = Kind {
    group: "discovery.k8s.io",
    kind: "EndpointSlice",
    plural: "endpointslices",
    singular: "endpointslice",
    generation: Generation::Spec,
    ..BASE
};
