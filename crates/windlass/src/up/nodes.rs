//! Leads the API server to the kubelet's router, which exists only after the API server does.

use std::sync::OnceLock;

use axum::Router;
use windlass_apiserver::Nodes;

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
