//! Writes a pod's status to the API: the newest word only, in order, until it is taken.

use std::{sync::Arc, time::Duration};

use http::Method;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use windlass_api::names::CONDITION_UNROUTED;
use windlass_planner::pod::conditions;

use crate::{
    api,
    pod::{name, namespace, uid},
};

/// First pause after a patch that was not taken; doubles to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Takes statuses, and sends the newest; what came while one was on its way is skipped over.
pub(crate) struct StatusWriter {
    newest: watch::Sender<Arc<PodStatus>>,
    /// The status that the API has taken, or will never take.
    settled: watch::Receiver<Arc<PodStatus>>,
}

impl StatusWriter {
    /// Starts with what the API has.
    pub(crate) fn start(client: Client, pod: watch::Receiver<Arc<Pod>>, tasks: &TaskTracker) -> Self {
        let initial = Arc::new(pod.borrow().status.clone().unwrap_or_default());
        let (newest, receiver) = watch::channel(Arc::clone(&initial));
        let (settled_sender, settled) = watch::channel(initial);
        tasks.spawn(write(client, pod, receiver, settled_sender));
        Self { newest, settled }
    }

    /// What was said last.
    pub(crate) fn latest(&self) -> Arc<PodStatus> {
        Arc::clone(&self.newest.borrow())
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<PodStatus>> {
        self.newest.subscribe()
    }

    /// What the API has taken, as it takes more.
    pub(crate) fn settled(&self) -> watch::Receiver<Arc<PodStatus>> {
        self.settled.clone()
    }

    /// Says `status`, unless it says nothing new.
    pub(crate) fn publish(&self, status: PodStatus) {
        self.newest.send_if_modified(|latest| {
            let is_new = **latest != status;
            if is_new {
                *latest = Arc::new(status);
            }
            is_new
        });
    }

    /// Says it again where the API has another word on readiness: who takes a node for dead, as its leases came late,
    /// says that its pods are not ready.
    pub(crate) fn insist(&self, seen: Option<&PodStatus>) {
        let is_ready = conditions::is_true(seen, "Ready");
        self.newest.send_if_modified(|latest| conditions::is_true(Some(latest), "Ready") != is_ready);
    }

    /// Waits until the API has what was said last, for `limit` at most.
    pub(crate) async fn flush(&self, limit: Duration) {
        let latest = self.latest();
        let mut settled = self.settled.clone();
        let taken = settled.wait_for(|settled| Arc::ptr_eq(settled, &latest));
        let _ = tokio::time::timeout(limit, taken).await;
    }
}

async fn write(
    client: Client,
    pod: watch::Receiver<Arc<Pod>>,
    mut newest: watch::Receiver<Arc<PodStatus>>,
    settled: watch::Sender<Arc<PodStatus>>,
) {
    let first = Arc::clone(&pod.borrow());
    let path = format!("/api/v1/namespaces/{}/pods/{}/status", namespace(&first), name(&first));
    let mut known = Arc::clone(&settled.borrow());
    while newest.changed().await.is_ok() {
        let mut pause = FIRST_PAUSE;
        loop {
            let status = Arc::clone(&newest.borrow_and_update());
            let stays = pod.borrow().metadata.deletion_timestamp.is_none();
            let patch = json!({ "metadata": { "uid": uid(&first) }, "status": patch(&status, &known, stays) });
            match api::send(&client, Method::PATCH, &path, api::STRATEGIC, &patch).await {
                Ok(()) => known = Arc::clone(&status),
                Err(error) if error.is_final() => {
                    // Gone, replaced by another pod of the name, or refused for good.
                    if !error.is_not_found() && !error.is_conflict() {
                        tracing::warn!(%error, path, "a pod's status was refused");
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, path, "a pod's status was not taken yet");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    continue;
                }
            }
            settled.send_replace(status);
            break;
        }
    }
}

/// The status as a strategic merge patch: what it has no value for is removed, conditions of others stay. `stays`: the pod is not to
/// be deleted.
fn patch(status: &PodStatus, known: &PodStatus, stays: bool) -> Value {
    let mut patch = serde_json::to_value(status).expect("a status has no keys but strings");
    let fields = patch.as_object_mut().expect("a status is an object");
    let old = serde_json::to_value(known).expect("a status has no keys but strings");
    for field in ["reason", "message", "podIP", "podIPs", "initContainerStatuses"] {
        if !fields.contains_key(field) && old.get(field).is_some() {
            fields.insert(field.to_owned(), Value::Null);
        }
    }
    for condition in fields.get_mut("conditions").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(condition) = condition.as_object_mut() {
            for field in ["reason", "message"] {
                condition.entry(field).or_insert(Value::Null);
            }
            condition.insert("lastProbeTime".to_owned(), Value::Null);
        }
    }
    // Whoever is ready, and stays, may be routed to: what was asked for before a container was stopped is over.
    if stays
        && conditions::is_true(Some(status), "Ready")
        && let Some(conditions) = fields.get_mut("conditions").and_then(Value::as_array_mut)
    {
        conditions.push(json!({ "$patch": "delete", "type": CONDITION_UNROUTED }));
    }
    if let Some(conditions) = fields.get_mut("conditions").and_then(Value::as_array_mut) {
        let is_said =
            |status: &PodStatus, kind: &str| status.conditions.iter().flatten().any(|condition| condition.type_ == kind);
        let over = conditions::OF_RESIZE.into_iter().filter(|kind| is_said(known, kind) && !is_said(status, kind));
        conditions.extend(over.map(|kind| json!({ "$patch": "delete", "type": kind })));
    }
    // These lists merge by address, which would keep an address that the pod no longer has.
    for field in ["podIPs", "hostIPs"] {
        if old.get(field).is_some_and(|old| Some(old) != fields.get(field))
            && let Some(list) = fields.get_mut(field).and_then(Value::as_array_mut)
        {
            list.insert(0, json!({ "$patch": "replace" }));
        }
    }
    patch
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{PodCondition, PodIP};

    use super::*;

    #[test]
    fn what_is_no_longer_said_is_removed() {
        let ip = |ip: &str| Some(vec![PodIP { ip: ip.to_owned() }]);
        let known = PodStatus { reason: Some("Evicted".into()), pod_ips: ip("10.0.0.1"), ..PodStatus::default() };
        let condition = PodCondition { type_: "Ready".into(), status: "True".into(), ..PodCondition::default() };
        let status = PodStatus { conditions: Some(vec![condition]), pod_ips: ip("10.0.0.2"), ..PodStatus::default() };
        let condition = json!({ "type": "Ready", "status": "True", "reason": null, "message": null, "lastProbeTime": null });
        let expected = json!({
            "reason": null, "conditions": [condition, { "$patch": "delete", "type": "windlass.dev/Unrouted" }], "podIPs": [{ "$patch": "replace" }, { "ip": "10.0.0.2" }],
        });
        assert_eq!(patch(&status, &known, true), expected);
        let conditions = patch(&status, &known, false)["conditions"].as_array().unwrap().len();
        assert_eq!(conditions, 1, "who leaves every route does not come back, ready or not");
    }
}
