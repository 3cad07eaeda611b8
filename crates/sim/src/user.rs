//! The user of a world: asks for things at any time, as kubectl would.

mod actions;
mod request;
mod workload;

pub(crate) use self::{actions::User, request::Requests, workload::of as workload_of};
