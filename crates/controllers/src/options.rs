//! What the controllers are given: the clock, chance, and the few figures that an operator may set.

use std::{fmt, sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::Client;
use windlass_planner::node_lifecycle::Grace;

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;
/// Gives 64 random bits.
pub type Chance = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Settings of [`crate::run`].
#[derive(Clone)]
pub struct Options {
    /// The time of day; a simulation gives its own.
    pub clock: Clock,
    /// Where the ends of pod names come from.
    pub chance: Chance,
    /// Certificate of the cluster's authority in PEM, handed to every namespace in the ConfigMap `kube-root-ca.crt`.
    pub cluster_ca_pem: String,
    /// A node that gives no sign of life for so long is gone until it says otherwise.
    pub node_grace: Grace,
    /// Finished pods kept in the cluster; the oldest beyond go. Upstream: 12,500.
    pub terminated_pods: usize,
    /// What the scheduler writes with; the client of the other controllers if absent.
    pub scheduler: Option<Client>,
    /// Directory of the machine below which volumes are made.
    pub volumes_directory: String,
}

impl Options {
    /// Real time, real chance, upstream's figures.
    pub fn new(cluster_ca_pem: String, chance: Chance) -> Self {
        Self {
            clock: Arc::new(Timestamp::now),
            chance,
            cluster_ca_pem,
            node_grace: Grace { monitor: Duration::from_secs(50), startup: Duration::from_secs(60) },
            terminated_pods: 12_500,
            scheduler: None,
            volumes_directory: "/var/lib/windlass/volumes".to_owned(),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("node_grace", &self.node_grace).finish_non_exhaustive()
    }
}
