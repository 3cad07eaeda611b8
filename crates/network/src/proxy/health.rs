//! Keeps the holder's health checks of load balancers as the Services want them.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::sync::watch;
use tracing::warn;
use windlass_planner::proxy::Health;

use crate::{Holder, holder::HealthCheck};

/// How soon a port that somebody else has is asked for again.
const RETRY: Duration = Duration::from_secs(5);

/// Tells the holder of every change, until the sender is gone.
pub(super) async fn keep(holder: Holder, address: IpAddr, mut wanted: watch::Receiver<Vec<Health>>) {
    loop {
        let check = |health: &Health| HealthCheck {
            listen: SocketAddr::new(address, health.port),
            namespace: health.service.namespace.clone(),
            name: health.service.name.clone(),
            local_endpoints: health.local_endpoints,
        };
        let checks: Vec<_> = wanted.borrow_and_update().iter().map(check).collect();
        let patience = match holder.set_health_checks(checks).await {
            Ok(()) => Duration::MAX,
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "health checks of load balancers can't be answered");
                RETRY
            }
        };
        if let Ok(Err(_)) = tokio::time::timeout(patience, wanted.changed()).await {
            return;
        }
    }
}
