//! What selectors look at: an object reduced to its name, its labels and the fields that may be selected.

use std::{convert::Infallible, sync::Arc};

use serde_json::{Map, Value, json};
use windlass_api::kind::Kind;
use windlass_storage::Entry;

use crate::registry::{memo::Memo, record};

/// Watchers are rarely further apart than this; at about 500 bytes each the cache stays under 2 MiB.
const KEPT_REVISIONS: usize = 4096;

/// The facts of recently read entries, so that many watchers decode an object once between them.
#[derive(Debug)]
pub(crate) struct Cache(Memo<Value>);

impl Default for Cache {
    fn default() -> Self {
        Self(Memo::new(KEPT_REVISIONS))
    }
}

impl Cache {
    /// The facts of this entry; what cannot be decoded has none.
    pub(crate) fn of(&self, kind: &Kind, entry: &Entry) -> Arc<Value> {
        let read = || {
            let object = serde_json::from_slice(record::stored(entry)).unwrap_or_default();
            // Kinds that share their objects share these facts too.
            Ok::<_, Infallible>(reduce(kind.stored_kind(), &object))
        };
        match self.0.get_or(entry.mod_revision, read) {
            Ok(facts) => facts,
            Err(never) => match never {},
        }
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
