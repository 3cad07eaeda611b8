//! What objects are given out of a finite range: addresses and ports of Services.

mod families;
mod pool;
mod service;

pub(crate) use service::{Reservation, Services};
