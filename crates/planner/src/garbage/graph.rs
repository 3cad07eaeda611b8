//! Who owns whom.

use std::collections::{BTreeMap, BTreeSet};

use super::{Object, Step, judge};

/// Every object that there is, by uid, and its dependents.
#[derive(Debug, Default)]
pub struct Graph {
    objects: BTreeMap<String, Object>,
    /// By uid of an owner, whether it is known or not.
    dependents: BTreeMap<String, BTreeSet<String>>,
    /// Owners that are known not to exist, as long as somebody names them.
    absent: BTreeSet<String>,
}

impl Graph {
    /// An object is new or has changed. The answer names the objects to look at.
    pub fn set(&mut self, object: Object) -> BTreeSet<String> {
        let uid = object.uid.clone();
        let old = self.objects.remove(&uid);
        let mut examine = BTreeSet::new();
        if let Some(old) = &old {
            self.unlink(old);
            examine.extend(self.watching_owners(old));
        }
        for owner in &object.owners {
            self.dependents.entry(owner.uid.clone()).or_default().insert(uid.clone());
        }
        examine.extend(self.watching_owners(&object));
        if object.waits_for_dependents() && old.is_none_or(|old| !old.waits_for_dependents()) {
            examine.extend(self.dependents_of(&uid).map(|dependent| dependent.uid.clone()));
        }
        let owned_in_vain = object.owners.iter().any(|owner| {
            self.absent.contains(&owner.uid) || self.objects.get(&owner.uid).is_none_or(Object::waits_for_dependents)
        });
        if owned_in_vain || object.waits_for_dependents() || object.orphans_dependents() {
            examine.insert(uid.clone());
        }
        self.objects.insert(uid, object);
        examine
    }

    /// An object has changed in nothing that matters here but its resourceVersion.
    pub fn note_revision(&mut self, uid: &str, resource_version: &str) {
        if let Some(object) = self.objects.get_mut(uid) {
            resource_version.clone_into(&mut object.resource_version);
        }
    }

    /// An object is gone. The answer names the objects to look at.
    pub fn remove(&mut self, uid: &str) -> BTreeSet<String> {
        let Some(object) = self.objects.remove(uid) else { return BTreeSet::new() };
        self.unlink(&object);
        let mut examine: BTreeSet<String> = self.watching_owners(&object).collect();
        let dependents = self.dependents_of(uid).map(|dependent| dependent.uid.clone());
        examine.extend(dependents);
        self.mark_absent(uid);
        examine
    }

    /// An owner was looked for and not found.
    pub fn mark_absent(&mut self, uid: &str) {
        if self.dependents.contains_key(uid) {
            self.absent.insert(uid.to_owned());
        }
    }

    /// What to do about one object.
    pub fn plan(&self, uid: &str) -> Vec<Step> {
        self.objects.get(uid).map(|object| judge::judge(self, object)).unwrap_or_default()
    }

    pub(super) fn get(&self, uid: &str) -> Option<&Object> {
        self.objects.get(uid)
    }

    pub(super) fn is_absent(&self, uid: &str) -> bool {
        self.absent.contains(uid)
    }

    pub(super) fn dependents_of(&self, uid: &str) -> impl Iterator<Item = &Object> {
        self.dependents.get(uid).into_iter().flatten().filter_map(|uid| self.objects.get(uid))
    }

    /// Owners whose own end depends on what becomes of this object.
    fn watching_owners(&self, object: &Object) -> impl Iterator<Item = String> {
        let owners = object.owners.iter().filter_map(|owner| self.objects.get(&owner.uid));
        let watching = owners.filter(|owner| owner.waits_for_dependents() || owner.orphans_dependents());
        watching.map(|owner| owner.uid.clone()).collect::<Vec<_>>().into_iter()
    }

    fn unlink(&mut self, object: &Object) {
        for owner in &object.owners {
            if let Some(dependents) = self.dependents.get_mut(&owner.uid) {
                dependents.remove(&object.uid);
                if dependents.is_empty() {
                    self.dependents.remove(&owner.uid);
                    self.absent.remove(&owner.uid);
                }
            }
        }
    }
}
