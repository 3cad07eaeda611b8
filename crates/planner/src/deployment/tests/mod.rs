//! Snapshots to plans, and whole rollouts step by step.

mod snapshots;
mod walk;
mod world;
