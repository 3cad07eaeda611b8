//! When a machine is ready: a pod that is created now is admitted and finds a node.

use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{Node, ServiceAccount};
use kube::{
    Api, Client,
    runtime::{WatchStreamExt as _, watcher},
};
use tokio::time::timeout;

/// Everything is on this machine: what is not there by then never comes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for the account of pods, and for a node where there is to be one.
pub(crate) async fn wait(client: &Client, has_nodes: bool) -> Result<()> {
    let node = async { if has_nodes { node(client).await } else { Ok(()) } };
    let ready = async { tokio::try_join!(service_account(client), node) };
    timeout(PATIENCE, ready).await.with_context(|| format!("the machine is not ready after {} s", PATIENCE.as_secs()))??;
    Ok(())
}

/// Pods are refused while their namespace has no service account.
async fn service_account(client: &Client) -> Result<()> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
    let config = watcher::Config::default().fields("metadata.name=default");
    let mut seen = watcher(accounts, config).applied_objects().boxed();
    seen.try_next().await.context("cannot watch service accounts")?;
    Ok(())
}

async fn node(client: &Client) -> Result<()> {
    let mut seen = watcher(Api::<Node>::all(client.clone()), watcher::Config::default()).applied_objects().boxed();
    while let Some(node) = seen.try_next().await.context("cannot watch nodes")? {
        let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let is_ready = conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
        // The taint that every new node has is taken off a moment later.
        let mut taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
        if is_ready && !taints.any(|taint| taint.key == "node.kubernetes.io/not-ready") {
            break;
        }
    }
    Ok(())
}
