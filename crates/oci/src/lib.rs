//! Everything that touches containers: images, layers, bundles, namespaces, cgroups, exec.

#![allow(unsafe_code, reason = "the one crate that may talk to the kernel past nix's safe calls; each site says why it is sound")]

mod cgroup;
pub mod container;
mod durable;
pub mod error;
pub mod image;
pub mod inherited;
pub mod internal;
mod kernel;
mod process;
mod seccomp;
mod tree;
pub mod user_namespace;
