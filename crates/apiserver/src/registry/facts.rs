//! What selectors look at, kept for the newest writes so that many watchers decode an object once between them.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::{Map, Value, json};
use windlass_api::kind::Kind;
use windlass_storage::{Entry, Revision};

use crate::registry::record;

/// Watchers are rarely further apart than this; at about 500 bytes each the cache stays under 2 MiB.
const KEPT_REVISIONS: usize = 4096;

/// The labels and selectable fields of recently read entries. A revision belongs to one key, so it is the key here.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    facts: HashMap<Revision, Arc<Value>>,
    order: VecDeque<Revision>,
}

impl Cache {
    /// The object of this entry, reduced to its name, its labels and the fields that may be selected.
    pub(crate) fn of(&self, kind: &Kind, entry: &Entry) -> Arc<Value> {
        let revision = entry.mod_revision;
        if let Some(facts) = self.kept.lock().unwrap_or_else(PoisonError::into_inner).facts.get(&revision) {
            return Arc::clone(facts);
        }
        let object = serde_json::from_slice(record::stored(entry)).unwrap_or_default();
        // Kinds that share their objects share these facts too.
        let facts = Arc::new(reduce(kind.stored_kind(), &object));
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.facts.insert(revision, Arc::clone(&facts)).is_none() {
            kept.order.push_back(revision);
            if kept.order.len() > KEPT_REVISIONS
                && let Some(oldest) = kept.order.pop_front()
            {
                kept.facts.remove(&oldest);
            }
        }
        facts
    }
}

/// Keeps what a selector can name.
fn reduce(kind: &Kind, object: &Value) -> Value {
    let mut facts = json!({});
    for pointer in ["/metadata/name", "/metadata/namespace", "/metadata/labels"] {
        copy(&mut facts, object, pointer);
    }
    for pointer in kind.selectable.iter().flat_map(|field| field.pointers) {
        copy(&mut facts, object, pointer);
    }
    facts
}

fn copy(facts: &mut Value, object: &Value, pointer: &str) {
    let Some(value) = object.pointer(pointer) else { return };
    let mut place = facts;
    for segment in pointer.split('/').skip(1) {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        place = &mut place[segment];
    }
    *place = value.clone();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_selectors_name_is_kept() {
        let pod = windlass_api::kind::find("", "v1", "pods").unwrap();
        let object = json!({
            "metadata": { "name": "a", "namespace": "n", "labels": { "x": "y" }, "annotations": { "big": "one" } },
            "spec": { "nodeName": "m", "containers": [] },
        });
        let facts = reduce(pod, &object);
        assert_eq!(facts["spec"]["nodeName"], "m");
        assert_eq!(facts["metadata"], json!({ "name": "a", "namespace": "n", "labels": { "x": "y" } }));
        assert!(facts["spec"].get("containers").is_none());
    }
}
