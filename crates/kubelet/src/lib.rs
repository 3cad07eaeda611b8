//! Pods on this machine: sync, probes, volumes, logs, status; the container runtime behind one trait.

mod api;
mod env;
mod events;
mod files;
mod gc;
pub mod hollow;
mod images;
mod kubelet;
mod logs;
pub mod network;
pub mod node;
mod objects;
pub mod oci_runtime;
mod paths;
mod pauses;
mod pod;
mod probes;
pub mod runtime;
mod runtime_class;
pub mod server;
mod services;
pub mod session;
mod streaming;
mod system_logs;
mod unverified;
mod volumes;

pub use kubelet::{Error, Kubelet, Options};
