//! What the API server is told of the machine's other parts, which exist only after it does: the kubelet's router, and what runs.

use std::sync::{Arc, OnceLock};

use axum::Router;
use windlass_apiserver::{Nodes, Parts};

/// The one kubelet of this machine.
#[derive(Debug, Default)]
pub(crate) struct LocalNode {
    kubelet: OnceLock<(String, Router)>,
}

impl LocalNode {
    /// Says where the kubelet of the node answers; only the first call counts.
    pub(crate) fn set(&self, node: &str, router: Router) {
        self.kubelet.get_or_init(|| (node.to_owned(), router));
    }
}

impl Nodes for LocalNode {
    fn router(&self, node: &str) -> Option<Router> {
        let (name, router) = self.kubelet.get()?;
        (name == node).then(|| router.clone())
    }
}

/// The controllers of this machine, the scheduler among them: one task.
#[derive(Debug, Default)]
pub(crate) struct LocalControllers {
    /// Held by the task as well for as long as it runs.
    running: Arc<()>,
}

impl LocalControllers {
    /// What the task has to hold.
    pub(crate) fn hold(&self) -> Arc<()> {
        Arc::clone(&self.running)
    }
}

impl Parts for LocalControllers {
    fn runs(&self, part: &str) -> bool {
        matches!(part, "controller-manager" | "scheduler") && Arc::strong_count(&self.running) > 1
    }
}
