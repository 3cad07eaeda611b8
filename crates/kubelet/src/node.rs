//! The Node object of this machine: registration, status and lease.

pub(crate) mod capacity;
pub(crate) mod lease;
mod status;

use std::time::Duration;

use http::Method;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use serde_json::{Value, json};

use crate::{api, events::Type, kubelet::Kubelet};

/// `nodeInfo.kubeletVersion`: the Kubernetes release whose behaviour this is, and whose build.
pub const KUBELET_VERSION: &str = "v1.36.2+windlass";

/// How often the status is measured; it is sent when it changed.
const MEASURE_EVERY: Duration = Duration::from_secs(10);
/// A status that did not change is sent after this long all the same, as upstream.
const REPORT_EVERY: Duration = Duration::from_secs(300);

/// The machine's architecture as Go (and so every node label) names it.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

pub(crate) use self::status::{healthy_conditions, runtime_handlers};

/// Registers the node, then keeps its status and lease current for as long as it is polled.
pub(crate) async fn keep(kubelet: &Kubelet) {
    let uid = register(kubelet).await;
    let mut reporter = status::Reporter::default();
    tokio::join!(keep_lease(kubelet, &uid), async {
        let mut last_sent = tokio::time::Instant::now();
        let mut interval = tokio::time::interval(MEASURE_EVERY);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let is_due = last_sent.elapsed() >= REPORT_EVERY;
            let Some(status) = reporter.measure(kubelet, is_due, Timestamp::now()).await else { continue };
            let path = format!("/api/v1/nodes/{}/status", kubelet.options.node_name);
            match api::send(&kubelet.client, Method::PATCH, &path, api::STRATEGIC, &json!({ "status": status })).await {
                Ok(()) => last_sent = tokio::time::Instant::now(),
                Err(error) => {
                    tracing::warn!(%error, "posting the node's status");
                    reporter.forget();
                    if error.is_not_found() {
                        register(kubelet).await;
                    }
                }
            }
        }
    });
}

async fn keep_lease(kubelet: &Kubelet, uid: &str) {
    let mut interval = tokio::time::interval(lease::RENEW_EVERY);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let mut pause = Duration::from_millis(100);
        while let Err(error) = lease::renew(&kubelet.client, &kubelet.options.node_name, Some(uid), Timestamp::now()).await {
            tracing::debug!(%error, "renewing the node's lease");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }
}

/// Creates the node, or brings the labels of the one that exists up to date; tries until it worked. The node's uid.
async fn register(kubelet: &Kubelet) -> String {
    let mut pause = Duration::from_millis(50);
    loop {
        match try_register(kubelet).await {
            Ok(uid) => {
                let started =
                    |reason, message: String| kubelet.events.node(&kubelet.options.node_name, Type::Normal, reason, message);
                started("Starting", "Starting kubelet.".to_owned());
                for condition in ["NodeHasSufficientMemory", "NodeHasNoDiskPressure", "NodeHasSufficientPID", "NodeReady"] {
                    started(condition, format!("Node {} status is now: {condition}", kubelet.options.node_name));
                }
                return uid;
            }
            Err(error) => tracing::debug!(error, "registering the node"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}

async fn try_register(kubelet: &Kubelet) -> Result<String, String> {
    let nodes: Api<Node> = Api::all(kubelet.client.clone());
    let name = &kubelet.options.node_name;
    let node = serde_json::from_value::<Node>(node(kubelet)).expect("the node is worded in this file");
    let labels = json!({ "metadata": { "labels": node.metadata.labels } });
    let found = nodes.get_opt(name).await.map_err(|error| error.to_string())?;
    let node = match found {
        None => nodes.create(&kube::api::PostParams::default(), &node).await.map_err(|error| error.to_string())?,
        Some(found) => {
            let path = format!("/api/v1/nodes/{name}");
            let patched = api::send(&kubelet.client, Method::PATCH, &path, api::STRATEGIC, &labels).await;
            patched.map_err(|error| error.to_string())?;
            found
        }
    };
    Ok(node.metadata.uid.unwrap_or_default())
}

fn node(kubelet: &Kubelet) -> Value {
    let options = &kubelet.options;
    let name = &options.node_name;
    let arch = architecture();
    let mut labels = json!({
        "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": arch,
        "beta.kubernetes.io/os": "linux", "beta.kubernetes.io/arch": arch,
    });
    for (key, value) in &options.node_labels {
        labels[key] = value.as_str().into();
    }
    let mut spec = json!({});
    if let Some(cidr) = &options.pod_cidr {
        spec = json!({ "podCIDR": cidr, "podCIDRs": [cidr] });
    }
    json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": name, "labels": labels }, "spec": spec })
}
