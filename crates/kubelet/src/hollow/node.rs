//! Registers hollow nodes and renews their leases.

use std::time::Duration;

use futures::{StreamExt, stream};
use http::Method;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::{Api, Client};
use serde_json::{Value, json};

use super::Clock;
use crate::{api, node::lease};

/// Nodes registered, or leases renewed, at once.
const CONCURRENCY: usize = 16;

/// Keeps `names` registered and alive for as long as it is polled.
pub(super) async fn keep_alive(client: Client, names: Vec<String>, clock: Clock) {
    let each = |action: Action| {
        let (client, clock) = (client.clone(), Clock::clone(&clock));
        stream::iter(names.clone()).for_each_concurrent(CONCURRENCY, move |name| {
            let (client, clock) = (client.clone(), Clock::clone(&clock));
            async move {
                match action {
                    Action::Register => register(&client, &name, &clock).await,
                    Action::Renew => renew(&client, &name, clock()).await,
                }
            }
        })
    };
    each(Action::Register).await;
    let mut interval = tokio::time::interval(lease::RENEW_EVERY);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        each(Action::Renew).await;
    }
}

#[derive(Debug, Clone, Copy)]
enum Action {
    Register,
    Renew,
}

/// Creates the node (one that exists is left as it is) and posts its status, until both worked.
async fn register(client: &Client, name: &str, clock: &Clock) {
    let mut delay = Duration::from_millis(20);
    loop {
        match post(client, name, clock()).await {
            Ok(()) => return,
            Err(error) => tracing::debug!(%error, name, "registering a hollow node"),
        }
        tokio::time::sleep(delay).await;
        delay = (delay * 2).min(Duration::from_secs(5));
    }
}

async fn post(client: &Client, name: &str, now: Timestamp) -> Result<(), api::Error> {
    match api::send(client, Method::POST, "/api/v1/nodes", api::JSON, &node(name)).await {
        Err(error) if !error.is_conflict() => return Err(error),
        _ => {}
    }
    post_status(client, name, now).await
}

async fn post_status(client: &Client, name: &str, now: Timestamp) -> Result<(), api::Error> {
    let status = json!({ "status": status(name, api::seconds(now)) });
    api::send(client, Method::PATCH, &format!("/api/v1/nodes/{name}/status"), api::STRATEGIC, &status).await
}

async fn renew(client: &Client, name: &str, now: Timestamp) {
    if let Err(error) = lease::renew(client, name, None, now).await {
        tracing::debug!(%error, name, "renewing the lease of a hollow node");
    }
    // As a kubelet does: who took the node for dead, since its leases came late, is told otherwise.
    let Ok(Some(node)) = Api::<Node>::all(client.clone()).get_opt(name).await else { return };
    let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
    if conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True") {
        return;
    }
    if let Err(error) = post_status(client, name, now).await {
        tracing::debug!(%error, name, "posting the status of a hollow node");
    }
}

fn node(name: &str) -> Value {
    let arch = crate::node::architecture();
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": arch,
                "beta.kubernetes.io/os": "linux", "beta.kubernetes.io/arch": arch,
            },
            "annotations": { "windlass.dev/hollow": "true" },
        },
        "spec": {},
    })
}

/// Room for a thousand pods a node, so that a scale test needs few nodes and never waits for the scheduler to find one.
fn status(name: &str, now: Timestamp) -> Value {
    let room = json!({ "cpu": "1000", "memory": "4Ti", "ephemeral-storage": "4Ti", "pods": "1000" });
    json!({
        "capacity": room, "allocatable": room,
        "addresses": [{ "type": "InternalIP", "address": "127.0.0.1" }, { "type": "Hostname", "address": name }],
        "conditions": crate::node::healthy_conditions(now), "runtimeHandlers": crate::node::runtime_handlers(),
        "nodeInfo": {
            "architecture": crate::node::architecture(), "bootID": "", "containerRuntimeVersion": "hollow://",
            "kernelVersion": "", "kubeProxyVersion": "", "kubeletVersion": crate::node::KUBELET_VERSION,
            "machineID": "", "operatingSystem": "linux", "osImage": "hollow", "systemUUID": "",
        },
    })
}
