//! Adoption and release: which objects an owner may call its own.

use std::sync::Arc;

use k8s_openapi::{
    Metadata, Resource,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use windlass_api::selector::Selector;

use crate::owner;

/// What an owner does about one object that it owns or could own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// It owns it, and its selector still matches.
    Keep,
    /// Nobody owns it and its selector matches: take it.
    Adopt,
    /// It owns it, but the labels no longer match: let it go.
    Release,
    /// Somebody else's, or nothing to do with it.
    Ignore,
}

/// Decides about `object` for the owner. An owner that is being deleted, and an object that is, change no hands.
pub fn claim(owner: &ObjectMeta, wanted: &Selector, object: &ObjectMeta) -> Claim {
    let matches = wanted.matches(&object.labels.as_ref());
    let owner_deleted = owner.deletion_timestamp.is_some();
    match owner::controller_of(object) {
        Some(controller) if controller.uid == owner::uid(owner) => match (matches, owner_deleted) {
            (true, _) => Claim::Keep,
            (false, true) => Claim::Ignore,
            (false, false) => Claim::Release,
        },
        Some(_) => Claim::Ignore,
        None if matches && !owner_deleted && object.deletion_timestamp.is_none() => Claim::Adopt,
        None => Claim::Ignore,
    }
}

/// An object that has to change hands.
#[derive(Debug, Clone, PartialEq)]
pub struct HandOver<T> {
    /// As it was seen.
    pub object: Arc<T>,
    /// All its owners from now on.
    pub owners: Vec<OwnerReference>,
    /// It is taken, rather than let go.
    pub adopted: bool,
}

/// Sorts the objects that an owner of kind `K` has or could have: those that it keeps, and those that have to change hands.
///
/// `fits` says of an object whether such an owner may have it at all, whatever its labels; one that does not fit is let go.
pub fn sort_out<K: Resource, T: Metadata<Ty = ObjectMeta>>(
    owner_meta: &ObjectMeta,
    wanted: &Selector,
    objects: &[Arc<T>],
    fits: impl Fn(&T) -> bool,
) -> (Vec<Arc<T>>, Vec<HandOver<T>>) {
    let (mut kept, mut changes) = (Vec::new(), Vec::new());
    for object in objects {
        let adopted = match (claim(owner_meta, wanted, object.metadata()), fits(object)) {
            (Claim::Keep, true) => {
                kept.push(Arc::clone(object));
                continue;
            }
            (Claim::Adopt, true) => true,
            (Claim::Keep | Claim::Release, _) => false,
            (Claim::Adopt | Claim::Ignore, _) => continue,
        };
        let mut owners = object.metadata().owner_references.clone().unwrap_or_default();
        if adopted {
            owners.push(owner::controller_reference::<K>(owner_meta));
        } else {
            owners.retain(|reference| reference.uid != owner::uid(owner_meta));
        }
        changes.push(HandOver { object: Arc::clone(object), owners, adopted });
    }
    (kept, changes)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::{apps::v1::ReplicaSet, core::v1::Pod};
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_is_ours_stays_what_nobody_has_comes_and_what_does_not_fit_goes() {
        let pod = |name: &str, app: &str, owner: Value, deleted: Value| -> Arc<Pod> {
            let metadata =
                json!({ "name": name, "labels": { "app": app }, "ownerReferences": owner, "deletionTimestamp": deleted });
            Arc::new(serde_json::from_value(json!({ "metadata": metadata })).unwrap())
        };
        let of =
            |uid: &str| json!([{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "o", "uid": uid, "controller": true }]);
        let (nobody, now) = (json!(null), json!("2026-01-01T00:00:00Z"));
        let pods = [
            pod("kept", "web", of("me"), json!(null)),
            pod("stranger", "web", of("other"), json!(null)),
            pod("orphan", "web", nobody.clone(), json!(null)),
            pod("dying orphan", "web", nobody.clone(), now),
            pod("other label", "db", of("me"), json!(null)),
            pod("unfit", "web", of("me"), json!(null)),
            pod("unfit orphan", "web", nobody, json!(null)),
        ];
        let owner: ObjectMeta = serde_json::from_value(json!({ "name": "o", "uid": "me" })).unwrap();
        let labels = std::collections::BTreeMap::from([("app".to_owned(), "web".to_owned())]);
        let wanted = Selector::equal_to(&labels);
        let (kept, changes) =
            sort_out::<ReplicaSet, _>(&owner, &wanted, &pods, |pod| !owner::name(&pod.metadata).contains("unfit"));
        let kept: Vec<&str> = kept.iter().map(|pod| owner::name(&pod.metadata)).collect();
        let changes: Vec<_> =
            changes.iter().map(|change| (owner::name(&change.object.metadata), change.adopted, change.owners.len())).collect();
        assert_eq!(kept, ["kept"]);
        assert_eq!(changes, [("orphan", true, 1), ("other label", false, 0), ("unfit", false, 0)]);
        // Who is on the way out takes nothing and lets nothing go.
        let leaving = ObjectMeta { deletion_timestamp: serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap(), ..owner };
        assert_eq!(sort_out::<ReplicaSet, _>(&leaving, &wanted, &pods[..5], |_| true).1, []);
    }
}
