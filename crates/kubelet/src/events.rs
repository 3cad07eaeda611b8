//! Events: what the kubelet did to a pod, repeated ones counted.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Arc, Weak, atomic::AtomicU64, atomic::Ordering},
};

use http::Method;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use crate::{api, hollow::Clock};

/// Events that wait to be sent; past this many, new ones are dropped, as a machine in trouble has better things to do.
const QUEUE: usize = 1024;
/// Events remembered so that a repetition raises a count; about 200 bytes each.
const REMEMBERED: usize = 4096;
/// Events of one object that are sent at once, and the seconds after which it may send one more: upstream's spam filter.
const BURST: f64 = 25.0;
const REFILL_SECONDS: f64 = 300.0;

/// How an event is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Type {
    Normal,
    Warning,
}

#[derive(Debug, Clone)]
struct Draft {
    object: Value,
    kind: Type,
    reason: Cow<'static, str>,
    message: String,
    at: Timestamp,
}

/// Sends events in the background; cheap to clone.
#[derive(Clone)]
pub(crate) struct Recorder {
    clock: Clock,
    queue: mpsc::Sender<Draft>,
    dropped: Arc<AtomicU64>,
}

impl Recorder {
    /// Starts sending as `node`'s kubelet, until the last clone is gone.
    pub(crate) fn start(client: Client, node: &str, clock: Clock, tasks: &TaskTracker) -> Self {
        let (queue, drafts) = mpsc::channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let sender = Sender {
            client,
            node: node.to_owned(),
            known: HashMap::new(),
            budgets: HashMap::new(),
            dropped: Arc::downgrade(&dropped),
        };
        tasks.spawn(sender.run(drafts));
        Self { clock, queue, dropped }
    }

    /// An event about a pod, or about one of its containers (by its path in the spec, `spec.containers{web}`).
    pub(crate) fn pod(
        &self,
        pod: &Pod,
        field_path: Option<String>,
        kind: Type,
        reason: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) {
        let mut object = json!({
            "kind": "Pod", "apiVersion": "v1", "namespace": pod.metadata.namespace, "name": pod.metadata.name,
            "uid": pod.metadata.uid, "resourceVersion": pod.metadata.resource_version,
        });
        if let Some(path) = field_path {
            object["fieldPath"] = path.into();
        }
        self.record(object, kind, reason.into(), message.into());
    }

    /// An event about the node; its uid is its name, as upstream has it.
    pub(crate) fn node(&self, name: &str, kind: Type, reason: &'static str, message: impl Into<String>) {
        self.record(
            json!({ "kind": "Node", "apiVersion": "v1", "name": name, "uid": name }),
            kind,
            reason.into(),
            message.into(),
        );
    }

    fn record(&self, object: Value, kind: Type, reason: Cow<'static, str>, message: String) {
        let draft = Draft { object, kind, reason, message, at: (self.clock)() };
        if self.queue.try_send(draft).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What makes two events the same event.
type Key = (String, Type, Cow<'static, str>, String);

struct Known {
    name: String,
    count: u32,
    used: Timestamp,
}

struct Budget {
    tokens: f64,
    at: Timestamp,
}

struct Sender {
    client: Client,
    node: String,
    known: HashMap<Key, Known>,
    budgets: HashMap<String, Budget>,
    dropped: Weak<AtomicU64>,
}

impl Sender {
    async fn run(mut self, mut drafts: mpsc::Receiver<Draft>) {
        while let Some(draft) = drafts.recv().await {
            if let Some(dropped) =
                self.dropped.upgrade().map(|dropped| dropped.swap(0, Ordering::Relaxed)).filter(|count| *count > 0)
            {
                tracing::warn!(dropped, "events came faster than they could be sent");
            }
            if self.may_send(&draft) {
                self.send(draft).await;
            }
            self.forget_old();
        }
    }

    fn may_send(&mut self, draft: &Draft) -> bool {
        let budget = self.budgets.entry(object_key(&draft.object)).or_insert(Budget { tokens: BURST, at: draft.at });
        let elapsed = draft.at.duration_since(budget.at).as_secs_f64().max(0.0);
        *budget = Budget { tokens: (budget.tokens + elapsed / REFILL_SECONDS).min(BURST), at: draft.at };
        let may = budget.tokens >= 1.0;
        if may {
            budget.tokens -= 1.0;
        }
        may
    }

    async fn send(&mut self, draft: Draft) {
        let namespace = draft.object["namespace"].as_str().unwrap_or("default").to_owned();
        let path = format!("/api/v1/namespaces/{namespace}/events");
        let key = (draft.object.to_string(), draft.kind, draft.reason.clone(), draft.message.clone());
        // The resource version of the pod differs from one event to the next although the event is the same.
        let key = (without_version(&draft.object), key.1, key.2, key.3);
        if let Some(known) = self.known.get_mut(&key) {
            known.count += 1;
            known.used = draft.at;
            let patch = json!({ "count": known.count, "lastTimestamp": api::seconds(draft.at) });
            let sent = api::send(&self.client, Method::PATCH, &format!("{path}/{}", known.name), api::STRATEGIC, &patch).await;
            match sent {
                // It outlived its time in the store: this one is the first again.
                Err(error) if error.is_not_found() => {}
                _ => return,
            }
        }
        let object_name = draft.object["name"].as_str().unwrap_or_default();
        let name = format!("{object_name}.{:x}", draft.at.as_nanosecond());
        let event = self.event(&draft, &name, &namespace);
        if let Err(error) = api::send(&self.client, Method::POST, &path, api::JSON, &event).await {
            // A namespace that is going takes no events, and nobody would read them.
            tracing::debug!(%error, reason = %draft.reason, "an event was not taken");
            return;
        }
        self.known.insert(key, Known { name, count: 1, used: draft.at });
    }

    fn event(&self, draft: &Draft, name: &str, namespace: &str) -> Value {
        let at = api::seconds(draft.at);
        json!({
            "apiVersion": "v1", "kind": "Event", "metadata": { "name": name, "namespace": namespace },
            "involvedObject": draft.object, "reason": draft.reason, "message": draft.message,
            "type": match draft.kind { Type::Normal => "Normal", Type::Warning => "Warning" },
            "source": { "component": "kubelet", "host": self.node },
            "reportingComponent": "kubelet", "reportingInstance": self.node,
            "firstTimestamp": at, "lastTimestamp": at, "count": 1,
        })
    }

    fn forget_old(&mut self) {
        if self.known.len() > REMEMBERED {
            let mut ages: Vec<Timestamp> = self.known.values().map(|known| known.used).collect();
            ages.sort_unstable();
            let middle = ages[ages.len() / 2];
            self.known.retain(|_, known| known.used > middle);
        }
        if self.budgets.len() > REMEMBERED {
            self.budgets.retain(|_, budget| budget.tokens < BURST - 1.0);
        }
    }
}

fn object_key(object: &Value) -> String {
    format!("{} {} {}", object["kind"], object["uid"], object["fieldPath"])
}

fn without_version(object: &Value) -> String {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("resourceVersion");
    }
    object.to_string()
}
