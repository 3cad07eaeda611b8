//! Pod sync: which containers of a pod to start, kill and restart, and what to say of it.
//!
//! The kubelet keeps an [`Observed`] for each pod and asks [`plan()`] after every event; [`status()`] words the same facts for the API.

pub mod admission;
pub mod backoff;
pub mod conditions;
mod container_status;
pub mod ephemeral;
pub mod expand;
#[cfg(test)]
mod fixture;
pub mod observed;
mod plan;
pub mod probe;
pub mod resize;
pub mod resources;
pub mod restart;
mod status;
pub mod stop;

pub use self::{
    observed::{Container, Failure, Identity, Observed, Outcome, Run, RunState, Sandbox},
    plan::{Action, KillReason, Plan, plan},
    status::status,
};
