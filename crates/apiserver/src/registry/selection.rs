//! Which objects of a collection a list, watch or deletecollection is about.

use serde_json::Value;
use windlass_api::{
    kind::Kind,
    selector::{FieldSelector, Selector},
    status::Status,
};
use windlass_storage::Entry;

use crate::{
    query::{Query, bad_request},
    registry::facts::Cache,
};

/// The label and field selectors of one request.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    labels: Selector,
    fields: FieldSelector,
}

impl Selection {
    /// Reads `labelSelector` and `fieldSelector`.
    ///
    /// # Errors
    /// 400 when one cannot be parsed, or names a field that this kind does not offer.
    pub(crate) fn parse(kind: &Kind, query: &Query) -> Result<Self, Status> {
        let labels = Selector::parse(query.get("labelSelector").unwrap_or_default());
        let fields = FieldSelector::parse(kind, query.get("fieldSelector").unwrap_or_default());
        Ok(Self {
            labels: labels.map_err(|error| bad_request(error.to_string()))?,
            fields: fields.map_err(|error| bad_request(error.to_string()))?,
        })
    }

    /// The object of this name alone.
    pub(crate) fn named(kind: &Kind, name: &str) -> Result<Self, Status> {
        let fields = FieldSelector::parse(kind, &format!("metadata.name={name}"));
        Ok(Self { labels: Selector::everything(), fields: fields.map_err(|error| bad_request(error.to_string()))? })
    }

    /// Whether every object of the collection is meant.
    pub(crate) fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }

    /// Whether this object, which is not stored, is meant.
    pub(crate) fn matches_value(&self, object: &Value) -> bool {
        self.labels.matches(&object["metadata"]["labels"]) && self.fields.matches(object)
    }

    /// Whether this object is meant.
    pub(crate) fn matches(&self, facts: &Cache, kind: &Kind, entry: &Entry) -> bool {
        if self.is_everything() {
            return true;
        }
        // The key ends with the name: most objects are out before anything is decoded.
        if let Some(name) = self.fields.name()
            && entry.key.rsplit('/').next() != Some(name)
        {
            return false;
        }
        let facts = facts.of(kind, entry);
        self.labels.matches(&facts["metadata"]["labels"]) && self.fields.matches(&facts)
    }
}
