//! Pods on this machine: sync, probes, volumes, logs, status; the container runtime behind one trait.

pub mod network;
pub mod runtime;
