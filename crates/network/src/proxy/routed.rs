//! Up to which change of a Service the routes are: what lets a writer know that its change is in effect.

use tokio::sync::watch;

/// The newest revision of a Service that every route follows; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Routed {
    revision: watch::Sender<u64>,
}

impl Routed {
    /// Returns once new connections, and requests of HTTP ports, go where the Services of this revision want them.
    /// It does not return while nobody routes: whoever calls it has to bound its patience.
    pub async fn reached(&self, revision: u64) {
        let mut reached = self.revision.subscribe();
        // The sender lives as long as this borrow of it.
        let _ = reached.wait_for(|reached| *reached >= revision).await;
    }

    pub(super) fn reach(&self, revision: u64) {
        self.revision.send_if_modified(|reached| {
            let is_newer = revision > *reached;
            *reached = revision.max(*reached);
            is_newer
        });
    }
}
