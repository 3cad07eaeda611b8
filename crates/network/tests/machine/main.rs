//! Tests with a real kernel: every one makes a machine of its own, and the host must be as it was afterwards.
//!
//! They need root, as the machine itself does.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says that it failed by panicking")]

mod api;
mod datagrams;
mod forms;
mod holder;
mod host_ports;
mod http;
mod kept;
mod names;
mod parting;
mod pods;
mod run;
mod services;
mod world;
