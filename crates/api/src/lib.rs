//! Nouns of the Kubernetes API: the table of kinds, and everything about an object that needs no I/O.
//!
//! Objects travel through the API server as [`serde_json::Value`]: what a client sent is what is stored, and a field that
//! this build does not know is reported rather than dropped in silence. Controllers use the typed structs of `k8s-openapi`.

pub mod apply;
pub mod autoscaling;
pub mod bootstrap;
pub mod codec;
pub mod columns;
pub mod defaults;
pub mod discovery;
pub mod events;
pub mod kind;
pub mod limits;
pub mod names;
pub mod openapi;
pub mod patch;
pub mod pod;
pub mod pod_security;
pub mod quantity;
pub mod quota;
pub mod scale;
pub mod schema;
pub mod selector;
pub mod status;
pub mod validation;
