//! What DaemonSets and StatefulSets have in common: they own pods themselves.

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::{
    Resource,
    api::core::v1::Pod,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use serde_json::{Value, json};
use windlass_planner::owner;

use crate::{
    cache::{Cache, Index, Key, Object, key, key_of},
    context::Context,
    queue::Queue,
};

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
