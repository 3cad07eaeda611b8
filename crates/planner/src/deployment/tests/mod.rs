//! Snapshots to plans, and whole rollouts step by step.

mod found;
mod model;
mod rollback;
mod snapshots;
mod upstream;
mod walk;
mod world;
