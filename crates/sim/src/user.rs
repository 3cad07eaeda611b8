//! The user of a world: asks for things at any time, as kubectl would.

mod deployment;
mod request;

pub(crate) use self::{
    deployment::{DeploymentUser, strategy},
    request::Requests,
};
