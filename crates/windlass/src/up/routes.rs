//! What the API server knows of the machine's routes.

use std::sync::OnceLock;

use windlass_network::{Holder, Routed, figures};

/// The routes, once there are containers to lead to; until then nobody is waited for.
#[derive(Debug, Default)]
pub(crate) struct MachineRoutes {
    routes: OnceLock<(Holder, Routed)>,
}

impl MachineRoutes {
    /// The machine routes from now on; what it tells of that comes by what is returned.
    pub(crate) fn start(&self, holder: &Holder) -> Routed {
        self.routes.get_or_init(|| (holder.clone(), Routed::default())).1.clone()
    }
}

#[async_trait::async_trait]
impl windlass_apiserver::Routes for MachineRoutes {
    async fn reached(&self, revision: u64) {
        if let Some((_, routed)) = self.routes.get() {
            routed.reached(revision).await;
        }
    }

    async fn figures(&self) -> String {
        let Some(holder) = self.routes.get().map(|(holder, _)| holder.clone()) else { return String::new() };
        match tokio::task::spawn_blocking(move || holder.http_counts()).await {
            Ok(Ok(counts)) => figures(&counts),
            Ok(Err(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "no figures about requests");
                String::new()
            }
            Err(_) => String::new(),
        }
    }
}
