//! Decides: pure functions from a snapshot of the world to a plan.
//!
//! No clock, randomness, logging, I/O or async in here.

pub mod pod;
