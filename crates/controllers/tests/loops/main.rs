//! The controllers against the real API server and store, with hollow nodes: a whole machine in memory.
#![expect(clippy::unwrap_used, clippy::panic, reason = "in a test, that is how an expectation fails")]

mod lifecycle;
mod machine;
mod priority;
mod rollout;
mod runtime_class;
