//! Quotas at admission: what an object takes is checked before it is stored, and noted as used right after, one request of a
//! namespace at a time.
//!
//! The object is written before the quota. Whoever counts what is used waits until it has seen the quota's revision, and so has
//! seen the object too; and no other write to a quota comes between the two, since all of them take the same lock.

use std::{hash::BuildHasher as _, sync::Arc};

use serde_json::Value;
use tokio::sync::{Mutex, MutexGuard};
use windlass_api::{
    kind::{self, Kind},
    quota::{self, Amounts},
    status::Status,
};
use windlass_storage::{Change, Expect};

use crate::{
    call::Call,
    metadata,
    registry::{self, Registry},
};

/// Namespaces share this many locks; two of them rarely meet.
const LOCKS: usize = 64;

/// The locks of the namespaces.
#[derive(Debug)]
pub(crate) struct Quotas {
    locks: [Mutex<()>; LOCKS],
    hasher: std::hash::RandomState,
}

impl Default for Quotas {
    fn default() -> Self {
        Self { locks: std::array::from_fn(|_| Mutex::new(())), hasher: std::hash::RandomState::new() }
    }
}

/// What a request takes, until it is noted. Dropped, nothing is noted.
#[derive(Debug)]
#[must_use]
pub(crate) struct Charge<'a> {
    registry: &'a Registry,
    quotas: Vec<Arc<Value>>,
    next: Vec<(usize, Amounts)>,
    _turn: Option<MutexGuard<'a, ()>>,
}

fn resource_quotas() -> &'static Kind {
    kind::find("", "v1", "resourcequotas").expect("the table has it")
}

impl Quotas {
    async fn turn(&self, namespace: &str) -> MutexGuard<'_, ()> {
        let place = usize::try_from(self.hasher.hash_one(namespace)).unwrap_or_default() % LOCKS;
        self.locks[place].lock().await
    }

    /// Keeps every other charge of the namespace away while a quota is written.
    pub(crate) async fn write(&self, call: &Call) -> Option<MutexGuard<'_, ()>> {
        if call.kind.plural == "resourcequotas" { Some(self.turn(&call.namespace).await) } else { None }
    }
}

/// Checks what turning `old` into `new` takes.
///
/// # Errors
/// 403 when a quota does not let it.
pub(crate) async fn charge<'a>(call: &'a Call, new: &Value, old: Option<&Value>) -> Result<Charge<'a>, Status> {
    let registry = &call.server.registry;
    let nothing = Charge { registry, quotas: Vec::new(), next: Vec::new(), _turn: None };
    // As upstream: what happened is told whether or not there is room.
    if !call.kind.namespaced || call.kind.stored_as() == ("", "events") {
        return Ok(nothing);
    }
    let kind = resource_quotas();
    if registry.look_up_all(kind, &call.namespace).await?.is_empty() {
        return Ok(nothing);
    }
    let turn = call.server.quotas.turn(&call.namespace).await;
    let quotas = registry.look_up_all(kind, &call.namespace).await?;
    let views: Vec<&Value> = quotas.iter().map(AsRef::as_ref).collect();
    let next = quota::charge(&views, call.kind, new, old)
        .map_err(|refusal| Status::forbidden(call.kind.resource(), metadata::text(new, "name"), &refusal.to_string()))?;
    Ok(Charge { registry, quotas, next, _turn: Some(turn) })
}

impl Charge<'_> {
    /// Notes what is used, now that the object is stored.
    pub(crate) async fn note(self) {
        for (place, used) in &self.next {
            let mut quota = Value::clone(&self.quotas[*place]);
            let revision = metadata::text(&quota, "resourceVersion").parse().unwrap_or_default();
            quota["status"]["used"] = quota::to_value(used);
            let kind = resource_quotas();
            let key = registry::key(kind, metadata::text(&quota, "namespace"), metadata::text(&quota, "name"));
            let change = Change::Put(registry::encode(kind, &quota), None);
            // One that was deleted meanwhile needs no note, and one that was not noted is counted again by its controller.
            if let Err(error) = self.registry.store.write(&key, Expect::Revision(revision), change).await {
                tracing::debug!(key, %error, "what a quota has used was not noted");
            }
        }
    }
}
