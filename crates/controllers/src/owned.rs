//! What everything that owns pods itself has in common: how it hears of them, which it sees, and what it has written of late.

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::{
    Resource,
    api::core::v1::Pod,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use serde_json::{Value, json};
use windlass_planner::owner;

use crate::{
    api::{self, Deletion, Error},
    cache::{Cache, Index, Key, Object, key, key_of},
    context::Context,
    doubt::Doubts,
    queue::Queue,
};

/// The newest writes on behalf of one DaemonSet or StatefulSet, by kind: each kind has a watch of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) set: u64,
    pub(crate) pods: u64,
    pub(crate) revisions: u64,
    pub(crate) claims: u64,
    /// Pods deleted at once: such a delete tells no revision, so they are left out until they are gone.
    pub(crate) deleted: BTreeSet<String>,
    /// Pods that a write got no answer for.
    pub(crate) doubts: Doubts,
}

impl Mark {
    /// Waits until the views hold all of it, but for that of the sets themselves, and what became of the writes that got no answer.
    pub(crate) async fn reached(&mut self, context: &Context) -> Result<(), Error> {
        let found = self.doubts.settle(&context.client).await?;
        self.pods = self.pods.max(found.revision);
        self.deleted.extend(found.gone);
        context.pods.reached(self.pods).await;
        context.controller_revisions.reached(self.revisions).await;
        context.claims.reached(self.claims).await;
        Ok(())
    }

    /// Takes in what was written besides.
    pub(crate) fn merge(&mut self, other: Self) {
        self.pods = self.pods.max(other.pods);
        self.deleted.extend(other.deleted);
        self.doubts.merge(other.doubts);
    }
}

/// Deletes the pod, if it still is the one that was seen; one that is gone is as good as deleted.
pub(crate) async fn delete_pod(context: &Context, pod: &Pod, mark: &mut Mark) -> Result<Deleted, Error> {
    let outcome = api::delete::<Pod>(&context.client, &pod.metadata, &Deletion::of(&pod.metadata)).await;
    let deleted = match outcome {
        Ok(written) => {
            mark.pods = mark.pods.max(if written.deleting { written.revision } else { 0 });
            Deleted::ByUs
        }
        Err(error) if error.is_not_found() => Deleted::Before,
        Err(error) if error.is_conflict() => {
            mark.doubts.add::<Pod>(&pod.metadata);
            return Err(error);
        }
        Err(error) => {
            mark.doubts.note::<Pod>(&pod.metadata, &error);
            return Err(error);
        }
    };
    mark.deleted.insert(owner::uid(&pod.metadata).to_owned());
    Ok(deleted)
}

/// Who deleted a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deleted {
    /// This delete.
    ByUs,
    /// It was gone.
    Before,
}

/// Gives the pod these owners, if it still is as it was seen.
pub(crate) async fn set_owners(context: &Context, pod: &Pod, owners: &[OwnerReference], mark: &mut Mark) -> Result<(), Error> {
    let written = api::merge::<Pod>(&context.client, &pod.metadata, &owners_change(&pod.metadata, owners)).await?;
    mark.pods = mark.pods.max(written.revision);
    Ok(())
}

/// Adds the owner of kind `O` of every child that changes; an orphan that is new or has new labels may be anybody's in its namespace.
pub(crate) fn listen<C: Object, O: Object + Resource>(children: &Cache<C>, owners: &Arc<Cache<O>>, queue: &Arc<Queue<Key>>) {
    let (owners, queue) = (Arc::clone(owners), Arc::clone(queue));
    children.listen(move |old, new| {
        let owner_of = |child: &Arc<C>| {
            let owner = owner::controller_of(child.meta()).filter(|owner| owner.kind == O::KIND)?;
            Some(key(owner::namespace(child.meta()), &owner.name))
        };
        let found = [old.and_then(owner_of), new.and_then(owner_of)];
        let orphan = new.filter(|child| owner::controller_of(child.meta()).is_none());
        let unchanged = old.is_some_and(|old| orphan.is_some_and(|new| old.meta().labels == new.meta().labels));
        if let Some(orphan) = orphan.filter(|_| !unchanged) {
            let namespace = owner::namespace(orphan.meta());
            for owner in owners.all().iter().filter(|owner| owner::namespace(owner.meta()) == namespace) {
                queue.add(key_of(owner.meta()));
            }
        }
        found.into_iter().flatten().collect::<BTreeSet<_>>().into_iter().for_each(|key| queue.add(key));
    });
}

/// Pods that it owns or could adopt. `deleted` are pods whose delete was accepted and may not show yet: they count as on their way
/// out for as long as they are there at all.
pub(crate) fn pods(context: &Context, owner_meta: &ObjectMeta, deleted: &mut BTreeSet<String>) -> Vec<Arc<Pod>> {
    let mut pods = context.pods.under(&Index::Owner(owner::uid(owner_meta).to_owned()));
    let shows = |uid: &String| {
        let staying = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
        staying.into_iter().any(|pod| owner::uid(&pod.metadata) == uid)
    };
    deleted.retain(shows);
    pods.retain(|pod| !deleted.contains(owner::uid(&pod.metadata)));
    pods.extend(context.pods.under(&Index::Orphan(owner::namespace(owner_meta).to_owned())));
    pods
}

/// The change that gives an object these owners, if it still is as it was seen.
pub(crate) fn owners_change(meta: &ObjectMeta, owners: &[OwnerReference]) -> Value {
    json!({ "metadata": { "uid": meta.uid, "resourceVersion": meta.resource_version, "ownerReferences": owners } })
}
