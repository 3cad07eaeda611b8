//! The node's lease: the cheap sign of life beside its status.

use std::time::Duration;

use http::Method;
use jiff::Timestamp;
use kube::Client;
use serde_json::json;

use crate::api;

/// As upstream: a lease of 40 s, renewed four times within it.
pub(crate) const RENEW_EVERY: Duration = Duration::from_secs(10);
const LEASE_SECONDS: u32 = 40;
const PATH: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";

/// Renews the lease of `node`, making it when there is none. `uid` of the node, when known, makes the lease go with it.
///
/// # Errors
/// When the API server refused or did not answer; the next renewal may succeed.
pub(crate) async fn renew(client: &Client, node: &str, uid: Option<&str>, now: Timestamp) -> Result<(), api::Error> {
    let now = format!("{now:.6}");
    let spec = json!({ "holderIdentity": node, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": now });
    let patch = json!({ "spec": spec });
    match api::send(client, Method::PATCH, &format!("{PATH}/{node}"), api::MERGE, &patch).await {
        Err(error) if error.is_not_found() => {}
        answer => return answer,
    }
    let mut lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": { "name": node, "namespace": "kube-node-lease" }, "spec": spec,
    });
    if let Some(uid) = uid {
        lease["metadata"]["ownerReferences"] = json!([{ "apiVersion": "v1", "kind": "Node", "name": node, "uid": uid }]);
    }
    api::send(client, Method::POST, PATH, api::JSON, &lease).await
}
