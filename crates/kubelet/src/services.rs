//! The Services of the machine, for the environment of containers.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Service;
use kube::{
    Api, Client,
    runtime::{WatchStreamExt, reflector, watcher},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long the first list is waited for; a container that starts without it would lack variables for all its life.
const FIRST_LIST: Duration = Duration::from_secs(10);

/// Follows all Services.
#[derive(Debug, Clone)]
pub(crate) struct Services {
    store: reflector::Store<Service>,
}

impl Services {
    /// Starts to follow them, until `stop`.
    pub(crate) fn start(client: Client, stop: CancellationToken, tasks: &TaskTracker) -> Self {
        let (store, writer) = reflector::store();
        let services: Api<Service> = Api::all(client);
        tasks.spawn(async move {
            let events = reflector(writer, watcher(services, watcher::Config::default()).default_backoff());
            let all = events.for_each(|event| async {
                if let Err(error) = event {
                    tracing::debug!(%error, "watching services");
                }
            });
            tokio::select! {
                () = stop.cancelled() => {}
                () = all => {}
            }
        });
        Self { store }
    }

    /// Services of `namespace`, and `kubernetes` of `default`.
    pub(crate) async fn of(&self, namespace: &str) -> Vec<Arc<Service>> {
        let _ = tokio::time::timeout(FIRST_LIST, self.store.wait_until_ready()).await;
        let concerns = |service: &Arc<Service>| {
            let own = service.metadata.namespace.as_deref();
            own == Some(namespace) || (own == Some("default") && service.metadata.name.as_deref() == Some("kubernetes"))
        };
        self.store.state().into_iter().filter(concerns).collect()
    }
}
