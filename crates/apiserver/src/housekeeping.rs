//! What keeps the store small.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::server::Server;

/// As upstream compacts etcd: every five minutes, up to where things stood five minutes before, so that a watcher which
/// was away for less finds the history it needs.
const COMPACTION_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// Compacts until the token is cancelled.
pub(crate) async fn run(server: &Arc<Server>, stop: CancellationToken) {
    let store = &server.registry.store;
    let mut before = None;
    loop {
        let now = store.revision().await.ok();
        if let Some(revision) = before
            && let Err(error) = store.compact(revision).await
        {
            tracing::warn!(%error, revision, "old history cannot be forgotten");
        }
        before = now;
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(COMPACTION_INTERVAL) => {}
        }
    }
}
