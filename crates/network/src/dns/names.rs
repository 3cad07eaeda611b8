//! What the main process tells the holder of names: changes as they come, or all of them when either has just begun.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::{
    api::{
        core::v1::{Service, ServiceSpec},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tracing::warn;
use windlass_api::names::LABEL_SERVICE_NAME;

use crate::{Addresses, Holder};

/// Objects that are told at once; a slice has up to 100 endpoints of some 200 bytes, and a line of the holder's at most 8 MiB.
const AT_ONCE: usize = 200;
/// Pause after a holder that could not be told.
const RETRY: Duration = Duration::from_millis(200);

/// What became of an object that names are made of. Of objects only what names need is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum NameChange {
    Service(Box<Service>),
    Slice(Box<EndpointSlice>),
    ServiceGone { namespace: String, name: String },
    SliceGone { namespace: String, name: String },
}

/// Some changes, in order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct NameChanges {
    /// Set for the first of a whole: it begins with nothing, and answers once the last has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) begin: Option<Addresses>,
    pub(crate) changes: Vec<NameChange>,
    /// The last of a whole.
    #[serde(default)]
    pub(crate) end: bool,
}

/// A kind, a namespace and a name: of several changes of one object only the last is told.
type Key = (bool, String, String);

#[derive(Debug, Default)]
struct Pending {
    changes: BTreeMap<Key, NameChange>,
    complete: bool,
}

/// Collects changes until the holder can be told; clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    pending: Arc<Mutex<Pending>>,
    changed: Arc<Notify>,
}

impl Names {
    pub(crate) fn service(&self, service: &Service) {
        let spec = service.spec.as_ref().map(|spec| ServiceSpec {
            type_: spec.type_.clone(),
            cluster_ip: spec.cluster_ip.clone(),
            cluster_ips: spec.cluster_ips.clone(),
            external_name: spec.external_name.clone(),
            ports: spec.ports.clone(),
            ..ServiceSpec::default()
        });
        let metadata = identity(&service.metadata);
        self.put(true, metadata.clone(), NameChange::Service(Box::new(Service { metadata, spec, status: None })));
    }

    pub(crate) fn slice(&self, slice: &EndpointSlice) {
        let mut metadata = identity(&slice.metadata);
        let service = slice.metadata.labels.as_ref().and_then(|labels| labels.get_key_value(LABEL_SERVICE_NAME));
        metadata.labels = service.map(|(label, service)| [(label.clone(), service.clone())].into());
        let slice = EndpointSlice { metadata: metadata.clone(), ..slice.clone() };
        self.put(false, metadata, NameChange::Slice(Box::new(slice)));
    }

    pub(crate) fn service_deleted(&self, namespace: &str, name: &str) {
        let change = NameChange::ServiceGone { namespace: namespace.to_owned(), name: name.to_owned() };
        self.put(true, named(namespace, name), change);
    }

    pub(crate) fn slice_deleted(&self, namespace: &str, name: &str) {
        let change = NameChange::SliceGone { namespace: namespace.to_owned(), name: name.to_owned() };
        self.put(false, named(namespace, name), change);
    }

    /// All objects that there are have been heard: before, the holder goes on with what it knows.
    pub(crate) fn complete(&self) {
        if !std::mem::replace(&mut self.lock().complete, true) {
            self.changed.notify_one();
        }
    }

    fn put(&self, is_service: bool, metadata: ObjectMeta, change: NameChange) {
        let key = (is_service, metadata.namespace.unwrap_or_default(), metadata.name.unwrap_or_default());
        self.lock().changes.insert(key, change);
        self.changed.notify_one();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Pending> {
        // A panic in between leaves a map of changes, as good as any.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything that is to be told, once all has been heard.
    fn take(&self) -> Option<Vec<NameChange>> {
        let mut pending = self.lock();
        (pending.complete).then(|| std::mem::take(&mut pending.changes).into_values().collect())
    }
}

/// Tells the holder, from the whole on, until it is dropped.
pub(crate) async fn tell(holder: Holder, addresses: Addresses, names: Names) {
    let mut begin = Some(addresses);
    loop {
        names.changed.notified().await;
        let Some(changes) = names.take() else { continue };
        if begin.is_none() && changes.is_empty() {
            continue;
        }
        let is_whole = begin.is_some();
        let mut chunks: Vec<_> = changes.chunks(AT_ONCE).map(<[_]>::to_vec).collect();
        if chunks.is_empty() {
            chunks.push(Vec::new());
        }
        let last = chunks.len() - 1;
        for (index, changes) in chunks.into_iter().enumerate() {
            let changes = NameChanges { begin: begin.take(), changes, end: is_whole && index == last };
            // In order, so none is left out; a holder that is gone takes this machine with it.
            while let Err(error) = holder.tell_names(changes.clone()).await {
                warn!(error = &error as &dyn std::error::Error, "the holder can't be told of names");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

fn identity(metadata: &ObjectMeta) -> ObjectMeta {
    ObjectMeta { namespace: metadata.namespace.clone(), name: metadata.name.clone(), ..ObjectMeta::default() }
}

fn named(namespace: &str, name: &str) -> ObjectMeta {
    ObjectMeta { namespace: Some(namespace.to_owned()), name: Some(name.to_owned()), ..ObjectMeta::default() }
}
