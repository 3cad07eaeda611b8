//! What a person types, and what they read in answer.
#![allow(clippy::print_stdout, reason = "a command's result goes to whoever typed it")]

pub mod args;
pub mod demo;
