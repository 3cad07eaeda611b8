//! A seeded world: the real API server, controllers, scheduler and hollow nodes in one thread, under faults and in virtual time.
//!
//! Everything that happens follows from a seed: who is when at work, what fails, what the user does. After every write the
//! checkers look whether what Windlass promises holds; at the end, with the faults stopped, everything must come to what was asked.

mod actor;
mod chance;
mod checker;
mod clock;
mod faults;
mod knowledge;
mod ledger;
mod log;
mod panics;
mod parts;
mod scene;
mod user;
mod witness;
mod world;

pub use self::{
    faults::Crash,
    log::Keep,
    world::{Outcome, Plan, run},
};
