//! The end of namespaces.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::{api::core::v1::Namespace, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use serde::Deserialize;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use windlass_api::kind::{KINDS, Kind};
use windlass_planner::{
    namespace::{self, Phase, Remaining},
    owner,
};

use crate::{
    api::{self, Deletion, Error},
    cache::Key,
    context::{Context, settle},
    garbage::collection,
    list::Page,
    marks::{Mark, Marks},
    queue::{Next, Queue},
};

/// Namespaces worked on at once.
const PARALLEL: usize = 4;
/// Pause between two looks at what is left: pods may take their grace period to end.
const PAUSE: Duration = Duration::from_millis(200);
/// Objects a look: more than these are deleted all the same, and counted by the next look.
const LOOK: usize = 500;

#[derive(Deserialize)]
struct Item {
    metadata: ObjectMeta,
}

struct Loop {
    context: Arc<Context>,
    marks: Marks,
}

/// Starts the loop and its listener.
pub(crate) fn start(context: &Arc<Context>, tasks: &mut JoinSet<()>, stop: &CancellationToken) {
    let queue: Arc<Queue<Key>> = Queue::new();
    let ending = Arc::clone(&queue);
    context.namespaces.listen(move |_, new| {
        if let Some(namespace) = new.filter(|namespace| namespace.metadata.deletion_timestamp.is_some()) {
            ending.add(owner::name(&namespace.metadata).into());
        }
    });
    let this = Arc::new(Loop { context: Arc::clone(context), marks: Marks::default() });
    tasks.spawn(queue.work(PARALLEL, stop.clone(), move |name| {
        let this = Arc::clone(&this);
        async move { settle("namespace", &name, this.pass(&name).await) }
    }));
}

/// Kinds that live in namespaces and are kept under their own name.
fn kinds() -> impl Iterator<Item = &'static Kind> {
    KINDS.iter().filter(|kind| {
        kind.namespaced && kind.stored_as.is_none() && kind.verbs.contains(&"list") && kind.verbs.contains(&"delete")
    })
}

fn is_pod(kind: &Kind) -> bool {
    kind.group.is_empty() && kind.kind == "Pod"
}

impl Loop {
    async fn pass(&self, name: &Key) -> Result<Next, Error> {
        let context = &self.context;
        let mut mark = self.marks.get(name);
        context.namespaces.reached(mark.own).await;
        let Some(namespace) = context.namespaces.get(name) else {
            self.marks.set(name, Mark::default());
            return Ok(Next::Wait);
        };
        let (mut remaining, mut failure) = (Vec::new(), None);
        let pods = kinds().filter(|kind| is_pod(kind));
        if namespace::phase(&namespace, 1) == Phase::Idle {
            return Ok(Next::Wait);
        }
        self.clear(name, pods, &mut remaining, &mut failure).await;
        let pods_left = remaining.iter().map(|kind: &Remaining| kind.objects).sum();
        if namespace::phase(&namespace, pods_left) == Phase::Rest {
            self.clear(name, kinds().filter(|kind| !is_pod(kind)), &mut remaining, &mut failure).await;
        }
        let plan = namespace::plan(&namespace, &remaining, failure.as_deref(), context.now());
        let mut changed = Namespace::clone(&namespace);
        if namespace.status.as_ref() != Some(&plan.status) {
            changed.status = Some(plan.status);
            let written = api::replace_status(&context.client, &changed).await?;
            mark.own(&written);
            changed.metadata.resource_version = Some(written.revision.to_string());
            self.marks.set(name, mark);
        }
        let Some(finalizers) = plan.finalize else { return Ok(Next::After(PAUSE)) };
        changed.spec.get_or_insert_default().finalizers = Some(finalizers);
        let path = format!("{}/finalize", api::path::<Namespace>(&changed.metadata));
        let body = serde_json::to_value(&changed).map_err(|error| Error::Unreadable(error.to_string()))?;
        match api::replace_at(&context.client, &path, &body).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(Next::Wait),
        }
    }

    /// Deletes what there is of these kinds and counts what is left.
    async fn clear(
        &self,
        namespace: &str,
        kinds: impl Iterator<Item = &'static Kind>,
        remaining: &mut Vec<Remaining>,
        failure: &mut Option<String>,
    ) {
        for kind in kinds {
            match self.clear_kind(namespace, kind).await {
                Ok(left) => remaining.push(left),
                Err(error) => *failure = Some(format!("Failed to delete all resource types, {}: {error}", kind.plural)),
            }
        }
    }

    async fn clear_kind(&self, namespace: &str, kind: &'static Kind) -> Result<Remaining, Error> {
        let left = self.look(namespace, kind).await?;
        if left.objects == 0 {
            return Ok(left);
        }
        let deletion = Deletion { propagation: Some("Background"), ..Deletion::default() };
        api::delete_at(&self.context.client, &collection(kind, namespace), &deletion).await?;
        self.look(namespace, kind).await
    }

    async fn look(&self, namespace: &str, kind: &'static Kind) -> Result<Remaining, Error> {
        let path = format!("{}?limit={LOOK}", collection(kind, namespace));
        let accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
        let page: Page<Item> = api::get(&self.context.client, &path, accept).await?;
        let mut finalizers: BTreeMap<String, usize> = BTreeMap::new();
        for finalizer in page.items.iter().flat_map(|item| item.metadata.finalizers.iter().flatten()) {
            *finalizers.entry(finalizer.clone()).or_default() += 1;
        }
        let beyond = usize::try_from(page.metadata.remaining_item_count.unwrap_or(0)).unwrap_or(0);
        Ok(Remaining {
            resource: namespace::resource_name(kind),
            objects: page.items.len() + beyond,
            finalizers: finalizers.into_iter().collect(),
            pods: is_pod(kind),
        })
    }
}
