//! Objects in the store: keys, records, and the errors of the store as answers.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use serde_json::Value;
use windlass_api::{kind::Kind, status::Status};
use windlass_storage::{Entry, Error, Page, Range, Revision, Store};

use crate::registry::memo::Memo;

pub(crate) mod facts;
mod memo;
pub(crate) mod record;
pub(crate) mod selection;
pub(crate) mod view;

/// As many as there are namespaces and service accounts in use at a time.
const KEPT_DECODED: usize = 256;

/// Access to objects by kind, namespace and name.
#[derive(Debug, Clone)]
pub(crate) struct Registry {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) facts: Arc<facts::Cache>,
    /// Objects that admission reads with every request: namespaces, accounts, classes.
    decoded: Arc<Memo<Value>>,
}

/// Start of the keys of a collection: all namespaces where `namespace` is empty.
pub(crate) fn prefix(kind: &Kind, namespace: &str) -> String {
    let (group, plural) = kind.stored_as();
    let group = if group.is_empty() { "core" } else { group };
    if namespace.is_empty() { format!("/registry/{group}/{plural}/") } else { format!("/registry/{group}/{plural}/{namespace}/") }
}

/// Key of an object; `namespace` is empty for a kind of the cluster.
pub(crate) fn key(kind: &Kind, namespace: &str, name: &str) -> String {
    let mut key = prefix(kind, namespace);
    key.push_str(name);
    key
}

/// An error of the store that has no better words.
pub(crate) fn failed(error: &Error) -> Status {
    match error {
        Error::NoSpace => Status::request(507, "InternalError", format!("Internal error occurred: {error}")),
        Error::Compacted { .. } => Status::request(410, "Expired", "The resourceVersion for the provided list is too old."),
        Error::Future { asked, newest } => too_large(*asked, *newest),
        error => Status::request(500, "InternalError", format!("Internal error occurred: {error}")),
    }
}

/// 504: the client has seen a revision that this server has not reached.
pub(crate) fn too_large(asked: Revision, newest: Revision) -> Status {
    let message = format!("Too large resource version: {asked}, current: {newest}");
    let cause = serde_json::json!({ "reason": "ResourceVersionTooLarge", "message": "Too large resource version" });
    Status {
        code: 504,
        reason: "Timeout",
        message: format!("Timeout: {message}"),
        details: Some(serde_json::json!({ "causes": [cause], "retryAfterSeconds": 1 })),
    }
}

impl Registry {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, facts: Arc::default(), decoded: Arc::new(Memo::new(KEPT_DECODED)) }
    }

    /// The entry of an object, if it exists.
    pub(crate) async fn find(&self, kind: &Kind, namespace: &str, name: &str) -> Result<Option<Entry>, Status> {
        self.store.get(&key(kind, namespace, name)).await.map_err(|error| failed(&error))
    }

    /// The entry of an object.
    ///
    /// # Errors
    /// 404 when it does not exist.
    pub(crate) async fn get(&self, kind: &Kind, namespace: &str, name: &str) -> Result<Entry, Status> {
        let found = self.find(kind, namespace, name).await?;
        found.ok_or_else(|| Status::not_found(kind.resource(), name))
    }

    /// An object that is read much more often than it is written, if it exists.
    pub(crate) async fn look_up(&self, kind: &Kind, namespace: &str, name: &str) -> Result<Option<Arc<Value>>, Status> {
        let Some(entry) = self.find(kind, namespace, name).await? else { return Ok(None) };
        self.decoded.get_or(entry.mod_revision, || record::decode(&entry)).map(Some)
    }

    /// A small collection that is read much more often than it is written.
    pub(crate) async fn look_up_all(&self, kind: &Kind, namespace: &str) -> Result<Vec<Arc<Value>>, Status> {
        let entries = self.entries(kind, namespace).await?;
        entries.iter().map(|entry| self.decoded.get_or(entry.mod_revision, || record::decode(entry))).collect()
    }

    /// The whole collection, decoded, for the few who need it.
    pub(crate) async fn all(&self, kind: &Kind, namespace: &str) -> Result<Vec<Value>, Status> {
        self.entries(kind, namespace).await?.iter().map(record::decode).collect()
    }

    /// The whole collection as it is stored.
    pub(crate) async fn entries(&self, kind: &Kind, namespace: &str) -> Result<Vec<Entry>, Status> {
        let range = Range { prefix: prefix(kind, namespace), ..Range::default() };
        let Page { entries, .. } = self.store.list(range).await.map_err(|error| failed(&error))?;
        Ok(entries)
    }
}

/// Decodes an object as this kind: two kinds that share their objects differ in how they spell them.
pub(crate) fn decode(kind: &Kind, entry: &Entry, revision: Revision) -> Result<Value, Status> {
    Ok(kind.from_stored(record::decode_at(entry, revision)?))
}

/// The JSON of an object as this kind, as clients read it.
pub(crate) fn json(kind: &Kind, entry: &Entry, revision: Revision) -> Result<Bytes, Status> {
    let mut out = BytesMut::new();
    append_json(&mut out, kind, entry, revision)?;
    Ok(out.freeze())
}

/// Appends the JSON of an object as this kind.
pub(crate) fn append_json(out: &mut BytesMut, kind: &Kind, entry: &Entry, revision: Revision) -> Result<(), Status> {
    if kind.stored_as.is_some() {
        out.extend_from_slice(decode(kind, entry, revision)?.to_string().as_bytes());
    } else {
        record::append_json(out, entry, revision);
    }
    Ok(())
}

/// Encodes an object of this kind for the store.
pub(crate) fn encode(kind: &Kind, object: &Value) -> Bytes {
    record::encode(&kind.to_stored(object))
}
