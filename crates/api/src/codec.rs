//! Bodies on the wire: JSON with an eye for duplicate keys, and Kubernetes' protobuf.

pub mod json;
pub mod protobuf;
