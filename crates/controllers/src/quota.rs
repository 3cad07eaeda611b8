//! The ResourceQuota loop: what is used is counted afresh whenever something came or went.
//!
//! The API server notes what a request takes as it lets it in. This loop counts what is there when a quota begins, gives back
//! what is gone, and puts right whatever was not noted.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ResourceQuota, ResourceQuotaStatus};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use windlass_api::kind::{self, Kind};
use windlass_planner::{
    owner,
    quota::{self, Snapshot},
};

use crate::{
    api::{self, Error},
    cache::{Cache, Index, Key, Object, key_of},
    context::{Context, settle},
    garbage::collection,
    list::{self, Page},
    marks::{Mark, Marks},
    queue::{Next, Queue},
};

/// Quotas worked on at once.
const PARALLEL: usize = 4;
const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

struct Loop {
    context: Arc<Context>,
    marks: Marks,
}

/// The quotas to count again.
#[derive(Clone)]
pub(crate) struct Recount {
    context: Arc<Context>,
    queue: Arc<Queue<Key>>,
}

impl Recount {
    pub(crate) fn new(context: &Arc<Context>) -> Self {
        Self { context: Arc::clone(context), queue: Queue::new() }
    }

    /// Counts the quotas of a namespace again, where it has any.
    pub(crate) fn namespace(&self, namespace: &str) {
        for quota in self.context.quotas.under(&Index::Namespace(namespace.to_owned())) {
            self.queue.add(key_of(&quota.metadata));
        }
    }
}

/// Starts the loop and its listeners.
pub(crate) fn start(context: &Arc<Context>, recount: &Recount, tasks: &mut JoinSet<()>, stop: &CancellationToken) {
    let own = recount.clone();
    context.quotas.listen(move |_, new| {
        if let Some(quota) = new {
            own.queue.add(key_of(&quota.metadata));
        }
    });
    listen(recount, &context.pods, "pods");
    listen(recount, &context.services, "services");
    listen(recount, &context.claims, "persistentvolumeclaims");
    let this = Arc::new(Loop { context: Arc::clone(context), marks: Marks::default() });
    tasks.spawn(Arc::clone(&recount.queue).work(PARALLEL, stop.clone(), move |key| {
        let this = Arc::clone(&this);
        async move { settle("quota", &key, this.pass(&key).await) }
    }));
}

/// An object that stays may take another amount than before.
fn listen<K: Object + serde::Serialize>(recount: &Recount, cache: &Cache<K>, plural: &'static str) {
    let recount = recount.clone();
    let kind = core(plural);
    cache.listen(move |old, new| {
        let (Some(old), Some(new)) = (old, new) else { return };
        let namespace = owner::namespace(new.meta());
        if recount.context.quotas.under(&Index::Namespace(namespace.to_owned())).is_empty() {
            return;
        }
        let usage = |object: &Arc<K>| windlass_api::quota::usage(kind, &to_value(&**object));
        if usage(old) != usage(new) {
            recount.namespace(namespace);
        }
    });
}

fn core(plural: &str) -> &'static Kind {
    kind::find("", "v1", plural).expect("the table has it")
}

fn to_value<K: serde::Serialize>(object: &K) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}

impl Loop {
    async fn pass(&self, key: &Key) -> Result<Next, Error> {
        let context = &self.context;
        let mut mark = self.marks.get(key);
        context.quotas.reached(mark.own).await;
        let Some(quota) = context.quotas.get(key) else {
            self.marks.set(key, Mark::default());
            return Ok(Next::Wait);
        };
        // What was let in is stored before the quota says so: what is read now has all that the quota has.
        let namespace = owner::namespace(&quota.metadata);
        let (looked_into, counted) = quota::concerned(&quota);
        let (mut objects, mut counts) = (Vec::new(), Vec::new());
        for kind in looked_into {
            objects.push((kind, list::all(&context.client, &collection(kind, namespace)).await?));
        }
        for kind in counted {
            counts.push((kind, self.count(kind, namespace).await?));
        }
        let status = quota::plan(&Snapshot { quota: &quota, objects: &objects, counts: &counts });
        let outcome = self.write_status(&quota, status, &mut mark).await;
        self.marks.set(key, mark);
        outcome.map(|()| Next::Wait)
    }

    async fn count(&self, kind: &Kind, namespace: &str) -> Result<usize, Error> {
        let path = format!("{}?limit=1", collection(kind, namespace));
        let listed: Page<Value> = api::get(&self.context.client, &path, METADATA_ONLY).await?;
        Ok(listed.items.len() + usize::try_from(listed.metadata.remaining_item_count.unwrap_or(0)).unwrap_or(0))
    }

    async fn write_status(&self, quota: &ResourceQuota, status: ResourceQuotaStatus, mark: &mut Mark) -> Result<(), Error> {
        if quota.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let mut changed = quota.clone();
        changed.status = Some(status);
        mark.own(&api::replace_status(&self.context.client, &changed).await?);
        Ok(())
    }
}
