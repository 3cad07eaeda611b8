//! Pods on this machine: sync, probes, volumes, logs, status; the container runtime behind one trait.

mod api;
pub mod hollow;
pub mod network;
pub mod node;
pub mod oci_runtime;
pub mod runtime;
