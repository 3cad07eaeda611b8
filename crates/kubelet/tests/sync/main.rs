//! The kubelet over the real API server, with a runtime and a network that are in memory: what it does, and what it says.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod adopted;
mod hollow;
mod life;
mod network;
mod probed;
mod refused;
mod resized;
mod runtime;
mod stopped;
mod streaming;
mod volumes;
mod world;
