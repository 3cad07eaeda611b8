//! The Kubernetes API over a store: route, authenticate, authorize, admit, registry, watch.
//!
//! [`ApiServer::in_process`] is the way in for parts of this process: mount a `kube::Client` on it, and there is no socket
//! between them. [`ApiServer::serve`] is the way in for everybody else.

mod admission;
mod allocate;
mod authn;
mod authz;
mod body;
mod bootstrap;
mod call;
mod component_status;
mod definitions;
mod discovery;
mod dispatch;
mod duration;
mod fields;
mod health;
mod housekeeping;
mod impersonate;
mod listen;
mod metadata;
mod metrics;
mod negotiate;
mod openapi;
mod openid;
mod options;
mod path;
pub mod pki;
mod query;
mod quota;
mod registry;
mod reply;
mod review;
mod server;
mod subresource;
mod token;
mod verb;
mod yaml;

pub use options::{
    Cidr, Clock, NoNodes, NoParts, NoRoutes, Nodes, Options, Parts, Random, Routes, StaticToken, SystemClock, SystemRandom,
};
pub use registry::record::stored_json;
pub use server::{ApiServer, Error};
