//! Server-side apply: fields have owners, and a configuration says only what its author wants to own.
//!
//! Both functions are pure. [`apply`] answers an apply patch; [`track_update`] keeps the books for every other write. Behaviour:
//! <https://kubernetes.io/docs/reference/using-api/server-side-apply/>.

mod check;
mod compare;
mod entries;
mod merge;
mod set;
mod types;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::names::ANNOTATION_LAST_APPLIED;
use crate::schema::{self, Message};
use crate::status::Status;
use entries::Entry;
use set::Set;
use types::Ty;

/// Whose write it is.
#[derive(Debug, Clone, Copy)]
pub struct Writer<'a> {
    /// The field manager: the request's `fieldManager`, or its user agent up to the first `/`.
    pub manager: &'a str,
    /// The subresource written through, such as `status`; otherwise empty.
    pub subresource: &'a str,
    /// When; kept to the second.
    pub now: Timestamp,
}

/// One field that somebody else owns and the configuration wants to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The owner as upstream prints it: `"kubectl-client-side-apply" using apps/v1`.
    pub owner: String,
    /// The field: `.spec.replicas`.
    pub field: String,
}

/// Why a configuration was not applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// 409: without force, fields of others stay as they are.
    #[error("{}", conflict_text(.0))]
    Conflicts(Vec<Conflict>),
    /// 400: the configuration says what only the server may say, or is of another version.
    #[error("{0}")]
    BadRequest(String),
    /// 500, as upstream: the configuration does not fit the type.
    #[error("{0}")]
    Untyped(String),
}

impl Error {
    /// The answer to the request.
    pub fn to_status(&self) -> Status {
        match self {
            Self::Conflicts(conflicts) => {
                let causes: Vec<_> = conflicts
                    .iter()
                    .map(|conflict| {
                        let message = format!("conflict with {}", conflict.owner);
                        json!({ "reason": "FieldManagerConflict", "message": message, "field": conflict.field })
                    })
                    .collect();
                let mut status = Status::request(409, "Conflict", self.to_string());
                status.details = Some(json!({ "causes": causes }));
                status
            }
            Self::BadRequest(message) => Status::request(400, "BadRequest", message),
            Self::Untyped(message) => Status::request(500, "", message),
        }
    }
}

fn conflict_text(conflicts: &[Conflict]) -> String {
    if let [only] = conflicts {
        return format!("Apply failed with 1 conflict: conflict with {}: {}", only.owner, only.field);
    }
    let mut owners: Vec<&str> = conflicts.iter().map(|conflict| conflict.owner.as_str()).collect();
    owners.sort_unstable();
    owners.dedup();
    let mut lines = Vec::new();
    for owner in owners {
        lines.push(format!("conflicts with {owner}:"));
        lines.extend(conflicts.iter().filter(|conflict| conflict.owner == owner).map(|conflict| format!("- {}", conflict.field)));
    }
    format!("Apply failed with {} conflicts: {}", conflicts.len(), lines.join("\n"))
}

/// kubectl's name under server-side apply; it inherits what `kubectl apply` without it had written down.
const KUBECTL: &str = "kubectl";

/// Applies a configuration to the live object, or to nothing.
///
/// The answer carries the new `metadata.managedFields`; it has yet to be defaulted and validated. It equals the live object when the
/// configuration says nothing new.
///
/// # Errors
///
/// [`Error::Conflicts`] unless `force`; [`Error::BadRequest`] and [`Error::Untyped`] for a configuration that cannot be applied at all.
pub fn apply(
    message: &'static Message,
    live: Option<&Value>,
    config: &Value,
    writer: &Writer<'_>,
    force: bool,
) -> Result<Value, Error> {
    require_appliable(message, live, config)?;
    match attempt(message, live, config, writer, force) {
        Err(Error::Conflicts(conflicts)) if writer.manager == KUBECTL => {
            let inherited = live.map(|live| last_applied_fields(message, live).paths()).unwrap_or_default();
            let left: Vec<_> = conflicts.into_iter().filter(|conflict| !inherited.contains(&conflict.field)).collect();
            if left.is_empty() { attempt(message, live, config, writer, true) } else { Err(Error::Conflicts(left)) }
        }
        result => result,
    }
}

fn require_appliable(message: &'static Message, live: Option<&Value>, config: &Value) -> Result<(), Error> {
    if entries::managed_fields(config).is_some() {
        return Err(Error::BadRequest("metadata.managedFields must be nil".to_owned()));
    }
    let text = |object: &Value, key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let version = text(config, "apiVersion");
    if let Some(expected) = live.map(|live| text(live, "apiVersion")).filter(|expected| *expected != version) {
        return Err(Error::BadRequest(format!(
            "Incorrect version specified in apply patch. Specified patch version: {version}, expected: {expected}"
        )));
    }
    let mistakes = check::check(message, config);
    if mistakes.is_empty() {
        return Ok(());
    }
    let metadata = &config["metadata"];
    let (namespace, name) = (text(metadata, "namespace"), text(metadata, "name"));
    let kind = text(config, "kind");
    let mistakes = check::joined(&mistakes);
    Err(Error::Untyped(format!("failed to create typed patch object ({namespace}/{name}; {version}, Kind={kind}): {mistakes}")))
}

fn attempt(
    message: &'static Message,
    live: Option<&Value>,
    config: &Value,
    writer: &Writer<'_>,
    force: bool,
) -> Result<Value, Error> {
    let nothing = json!({ "metadata": {} });
    let old = live.unwrap_or(&nothing);
    let api_version = config.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    let mut owners = entries::decode(entries::managed_fields(old)).unwrap_or_default();
    let last = owners
        .iter()
        .position(|entry| entry.applied && entry.manager == writer.manager && entry.subresource == writer.subresource)
        .map(|place| owners.swap_remove(place));
    let mut fields = types::to_set(message, config);
    fields.remove_below(&[reset_field(writer.subresource)]);
    if writer.subresource == "status" && config["kind"] == "Deployment" {
        fields.remove_below(&["f:metadata", "f:labels"]);
    }

    let mut merged = merge::merge(Ty::Message(message), old, config);
    if let Some(last) = &last {
        let mut owned = fields.clone();
        // Every configuration names the object, so metadata itself never goes.
        owned.insert(["f:metadata", "f:name"].map(str::to_owned));
        for owner in owners.iter().filter(|owner| owner.api_version == last.api_version) {
            owned.unite(&owner.fields);
        }
        let ty = Ty::Message(message);
        let mut gone = ty.with_named_fields(&last.fields);
        gone.subtract(&ty.with_named_fields(&owned));
        merge::remove(ty, &mut merged, &gone);
    }
    let written = compare::compare(message, old, &merged).written();
    schema::prune(message, &mut merged);
    let stored = compare::compare(message, old, &merged);
    // A zero that is not stored conflicts where it takes something away, and is no change where there was nothing.
    let mut touched = stored.written();
    touched.unite(&stored.removed);
    let taken = take_over(&mut owners, &written.intersection(&touched), &stored.removed, api_version);
    if !force && !taken.is_empty() {
        return Err(Error::Conflicts(taken));
    }
    let unchanged = stored.is_empty();
    let time = if unchanged { last.and_then(|last| last.time) } else { Some(entries::printed_time(writer.now)) };
    owners.push(Entry {
        manager: writer.manager.to_owned(),
        applied: true,
        api_version: api_version.to_owned(),
        subresource: writer.subresource.to_owned(),
        time,
        fields,
    });
    renew_last_applied(&mut merged, config, writer);
    entries::encode(&mut merged, owners);
    Ok(merged)
}

/// What a write through the main resource resets, and what a write through a subresource does: nobody comes to own it by that.
fn reset_field(subresource: &str) -> &'static str {
    if subresource.is_empty() {
        "f:status"
    } else if subresource == "status" {
        "f:spec"
    } else {
        ""
    }
}

/// Takes from all owners what a write changed or removed, and tells whose fields it changed.
fn take_over(owners: &mut [Entry], written: &Set, removed: &Set, api_version: &str) -> Vec<Conflict> {
    let mut conflicts = Vec::new();
    for owner in owners.iter_mut().filter(|owner| owner.api_version == api_version) {
        let taken = owner.fields.intersection(written);
        if !taken.is_empty() {
            let name = owner.printed();
            conflicts.extend(taken.paths().into_iter().map(|field| Conflict { owner: name.clone(), field }));
            owner.fields.subtract(&taken);
        }
        owner.fields.subtract(removed);
    }
    conflicts
}

/// The fields that `kubectl apply` wrote down on the object, as far as the object still holds them.
fn last_applied_fields(message: &'static Message, live: &Value) -> Set {
    let text = live["metadata"]["annotations"][ANNOTATION_LAST_APPLIED].as_str().unwrap_or_default();
    let Ok(last_applied) = serde_json::from_str::<Value>(text) else { return Set::default() };
    let mut fields = types::to_set(message, &last_applied);
    let difference = compare::compare(message, &last_applied, live);
    fields.subtract(&difference.modified);
    fields.subtract(&difference.removed);
    fields
}

/// Someone may go back to `kubectl apply` without server-side apply: what it wrote down must follow.
fn renew_last_applied(object: &mut Value, config: &Value, writer: &Writer<'_>) {
    if writer.manager != KUBECTL {
        return;
    }
    let Some(annotation) = object.pointer_mut("/metadata/annotations").and_then(|all| all.get_mut(ANNOTATION_LAST_APPLIED))
    else {
        return;
    };
    let mut config = config.clone();
    if let Some(Value::Object(annotations)) = config.pointer_mut("/metadata/annotations") {
        annotations.remove(ANNOTATION_LAST_APPLIED);
    }
    *annotation = format!("{config}\n").into();
}

/// Writes into `new` who owns what after a create, update or patch that turned `old` into it.
///
/// To be called when defaults are set and the strategy has carried over what the write may not change, and before the server fills in
/// anything of its own, such as an address. A client may write `metadata.managedFields` itself, through the main resource only; `[{}]`
/// clears it.
pub fn track_update(message: &'static Message, old: Option<&Value>, new: &mut Value, writer: &Writer<'_>) {
    let nothing = Value::Null;
    let old = old.unwrap_or(&nothing);
    let mut difference = compare::compare(message, old, new);
    let reset = [reset_field(writer.subresource)];
    for set in [&mut difference.added, &mut difference.modified, &mut difference.removed] {
        set.remove_below(&reset);
    }
    let before = entries::managed_fields(old);
    let sent = entries::managed_fields(new).filter(|_| writer.subresource.is_empty()).filter(|sent| Some(*sent) != before);
    if difference.is_empty() && sent.is_none() {
        let before = before.and_then(Value::as_array).cloned().unwrap_or_default();
        entries::store(new, before);
        return;
    }
    let mut owners = match sent {
        Some(sent) if entries::is_reset(sent) => Vec::new(),
        sent => sent
            .and_then(|sent| entries::decode(Some(sent)))
            .filter(|owners| !owners.is_empty())
            .or_else(|| entries::decode(before))
            .unwrap_or_default(),
    };
    let api_version = new.get("apiVersion").and_then(Value::as_str).unwrap_or_default().to_owned();
    let written = difference.written();
    take_over(&mut owners, &written, &difference.removed, &api_version);
    if !written.is_empty() {
        let time = Some(entries::printed_time(writer.now));
        let own = owners.iter_mut().find(|entry| {
            !entry.applied
                && entry.manager == writer.manager
                && entry.subresource == writer.subresource
                && entry.api_version == api_version
        });
        match own {
            Some(own) => {
                own.fields.unite(&written);
                own.time = time;
            }
            None => owners.push(Entry {
                manager: writer.manager.to_owned(),
                applied: false,
                api_version,
                subresource: writer.subresource.to_owned(),
                time,
                fields: written,
            }),
        }
        entries::cap(&mut owners);
    }
    entries::encode(new, owners);
}

#[cfg(test)]
mod tests;
