//! `metadata.managedFields`: who owns what, and since when.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::set::Set;

/// Upstream's bound on updaters that are told apart; older ones are summed up under [`ANCIENT`]. Without it, a client that
/// changes its name would grow every object that it touches.
const MAX_UPDATERS: usize = 10;
const ANCIENT: &str = "ancient-changes";

/// One owner.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) manager: String,
    /// Whether by server-side apply, rather than by another write.
    pub(super) applied: bool,
    pub(super) api_version: String,
    pub(super) subresource: String,
    /// RFC 3339; sorts as it is.
    pub(super) time: Option<String>,
    pub(super) fields: Set,
}

impl Entry {
    fn from_value(value: &Value) -> Option<Self> {
        let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let operation = text("operation");
        if !matches!(operation.as_str(), "Apply" | "Update") || text("fieldsType") != "FieldsV1" || text("apiVersion").is_empty()
        {
            return None;
        }
        Some(Self {
            manager: text("manager"),
            applied: operation == "Apply",
            api_version: text("apiVersion"),
            subresource: text("subresource"),
            time: value.get("time").and_then(Value::as_str).map(str::to_owned),
            fields: Set::from_value(value.get("fieldsV1")?),
        })
    }

    fn to_value(&self) -> Value {
        let mut map = Map::new();
        let mut put = |key: &str, value: &str| {
            if !value.is_empty() {
                map.insert(key.to_owned(), value.into());
            }
        };
        put("manager", &self.manager);
        put("operation", if self.applied { "Apply" } else { "Update" });
        put("apiVersion", &self.api_version);
        put("time", self.time.as_deref().unwrap_or_default());
        put("fieldsType", "FieldsV1");
        put("subresource", &self.subresource);
        map.insert("fieldsV1".to_owned(), self.fields.to_value());
        Value::Object(map)
    }

    /// As messages about conflicts name it.
    pub(super) fn printed(&self) -> String {
        let mut printed = format!("{:?}", self.manager);
        if !self.subresource.is_empty() {
            printed.push_str(&format!(" with subresource {:?}", self.subresource));
        }
        if !self.applied {
            printed.push_str(&format!(" using {}", self.api_version));
        }
        printed
    }
}

/// The second that a write happened in, as entries carry it.
pub(super) fn printed_time(now: Timestamp) -> String {
    let second = Timestamp::from_second(now.as_second()).unwrap_or(now);
    second.to_string()
}

/// `metadata.managedFields` of an object.
pub(super) fn managed_fields(object: &Value) -> Option<&Value> {
    object.get("metadata")?.get("managedFields").filter(|list| !list.is_null())
}

/// The owners that an object names; `None` when the list cannot be read.
pub(super) fn decode(list: Option<&Value>) -> Option<Vec<Entry>> {
    match list {
        None => Some(Vec::new()),
        Some(list) => list.as_array()?.iter().map(Entry::from_value).collect(),
    }
}

/// Whether a client asks for an empty list, which is spelled as a list of one empty entry.
pub(super) fn is_reset(list: &Value) -> bool {
    list.as_array().is_some_and(|list| matches!(list.as_slice(), [Value::Object(only)] if only.is_empty()))
}

/// Writes the owners into an object, in upstream's order.
pub(super) fn encode(object: &mut Value, mut entries: Vec<Entry>) {
    entries.retain(|entry| !entry.fields.is_empty());
    let rank = |entry: &Entry| {
        (!entry.applied, entry.time.clone(), entry.manager.clone(), entry.api_version.clone(), entry.subresource.clone())
    };
    entries.sort_by_cached_key(rank);
    store(object, entries.iter().map(Entry::to_value).collect());
}

/// Puts a list of entries into an object, or takes an empty one out.
pub(super) fn store(object: &mut Value, list: Vec<Value>) {
    let Some(Value::Object(metadata)) = object.get_mut("metadata") else { return };
    if list.is_empty() {
        metadata.remove("managedFields");
    } else {
        metadata.insert("managedFields".to_owned(), Value::Array(list));
    }
}

/// Sums the oldest updaters up when there are too many.
pub(super) fn cap(entries: &mut Vec<Entry>) {
    let updaters = entries.iter().filter(|entry| !entry.applied).count();
    // The sum takes a place itself.
    let Some(excess) = updaters.checked_sub(MAX_UPDATERS).filter(|excess| *excess > 0) else { return };
    let (mut old, kept): (Vec<_>, Vec<_>) = std::mem::take(entries).into_iter().partition(|entry| !entry.applied);
    *entries = kept;
    old.sort_by(|a, b| (&a.time, &a.manager).cmp(&(&b.time, &b.manager)));
    let recent = old.split_off(excess + 1);
    for entry in old {
        let sum = entries.iter_mut().find(|sum| sum.manager == ANCIENT && !sum.applied && sum.api_version == entry.api_version);
        match sum {
            Some(sum) => {
                sum.fields.unite(&entry.fields);
                sum.time = entry.time;
            }
            None => entries.push(Entry { manager: ANCIENT.to_owned(), subresource: String::new(), ..entry }),
        }
    }
    entries.extend(recent);
}
