//! Notices when a connection has been silent for too long.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Counts signs of life.
#[derive(Debug, Default)]
pub(super) struct Pulse(AtomicU64);

impl Pulse {
    pub(super) fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Ends when nothing has beaten for that long.
    pub(super) async fn silence(&self, time: Duration) {
        let mut before = None;
        loop {
            let now = Some(self.0.load(Ordering::Relaxed));
            if now == before {
                return;
            }
            before = now;
            tokio::time::sleep(time).await;
        }
    }
}
