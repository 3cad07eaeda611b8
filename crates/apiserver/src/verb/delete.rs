//! `DELETE` of one object: grace, propagation, preconditions, finalizers.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use windlass_api::{
    kind::Kind,
    pod,
    status::{Resource, Status},
    validation::Cause,
};
use windlass_storage::{Change, Entry, Error, Expect};

use crate::{
    body,
    call::{Call, Outcome},
    metadata, negotiate,
    query::{bad_request, invalid_option},
    registry,
    reply::{self, Response},
};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";
/// Races that one request may lose before it gives up.
const MAX_ATTEMPTS: usize = 100;

/// `DeleteOptions` as a body or the query gives them.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct DeleteOptions {
    grace_period_seconds: Option<i64>,
    preconditions: Option<Preconditions>,
    orphan_dependents: Option<bool>,
    propagation_policy: Option<String>,
    dry_run: Vec<String>,
}

/// What the object must be for the delete to take place.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Preconditions {
    uid: Option<String>,
    resource_version: Option<String>,
}

/// What became of an object.
pub(crate) enum Removed {
    /// It is gone; holds what it was.
    Gone(Value),
    /// It stays until its grace is over or its finalizers are done.
    Marked(Outcome),
}

impl DeleteOptions {
    /// Reads the body, or the query where there is no body.
    ///
    /// # Errors
    /// 400 when they cannot be decoded, 422 when they contradict themselves.
    pub(crate) fn read(call: &Call, body: &[u8]) -> Result<Self, Status> {
        let query = &call.query;
        let mut options: Self = if body.is_empty() {
            Self {
                grace_period_seconds: query.integer("gracePeriodSeconds")?,
                orphan_dependents: query.get("orphanDependents").map(|text| text == "true"),
                propagation_policy: query.get("propagationPolicy").map(str::to_owned),
                ..Self::default()
            }
        } else {
            let document = body::parse(body, negotiate::body(&call.headers)?).map_err(bad_request)?;
            serde_json::from_value(document.value).map_err(|error| bad_request(error.to_string()))?
        };
        options.dry_run.extend(query.all("dryRun").filter(|value| !value.is_empty()).map(str::to_owned));
        options.check()?;
        Ok(options)
    }

    /// Takes options out of another body.
    ///
    /// # Errors
    /// As [`DeleteOptions::read`].
    pub(crate) fn read_value(value: &Value) -> Result<Self, Status> {
        let options = Self::deserialize(value).map_err(|error| bad_request(error.to_string()))?;
        options.check()?;
        Ok(options)
    }

    fn check(&self) -> Result<(), Status> {
        if let Some(policy) = &self.propagation_policy {
            if self.orphan_dependents.is_some() {
                let detail = "orphanDependents and deletionPropagation cannot be both set";
                return Err(invalid_option("DeleteOptions", Cause::Invalid, "propagationPolicy", policy.as_str().into(), detail));
            }
            if !matches!(policy.as_str(), "Foreground" | "Background" | "Orphan") {
                let detail = "supported values: \"Foreground\", \"Background\", \"Orphan\"";
                let field = "propagationPolicy";
                return Err(invalid_option("DeleteOptions", Cause::NotSupported, field, policy.as_str().into(), detail));
            }
        }
        if let Some(value) = self.dry_run.iter().find(|value| *value != "All") {
            let detail = "supported values: \"All\"";
            return Err(invalid_option("DeleteOptions", Cause::NotSupported, "dryRun", value.as_str().into(), detail));
        }
        Ok(())
    }

    /// Whether nothing is to be deleted in earnest.
    pub(crate) fn is_dry_run(&self) -> bool {
        !self.dry_run.is_empty()
    }

    /// The finalizers that garbage collection wants on the object, given those it has.
    fn collection_finalizers(&self, kind: &Kind, object: &Value) -> Vec<Value> {
        let has = |name: &str| object["metadata"]["finalizers"].as_array().is_some_and(|all| all.iter().any(|own| own == name));
        let explicit = match (self.orphan_dependents, self.propagation_policy.as_deref()) {
            (Some(true), _) | (None, Some("Orphan")) => Some(ORPHAN),
            (None, Some("Foreground")) => Some(FOREGROUND),
            (Some(false), _) | (None, Some(_)) => Some(""),
            (None, None) => None,
        };
        let wanted = match explicit {
            Some(name) => name,
            None if has(ORPHAN) => ORPHAN,
            None if has(FOREGROUND) => FOREGROUND,
            // As upstream: these are older than the default that replaced this one.
            None if matches!((kind.group, kind.plural), ("", "replicationcontrollers") | ("batch", "jobs")) => ORPHAN,
            None => "",
        };
        let own = object["metadata"]["finalizers"].as_array().into_iter().flatten();
        let mut finalizers: Vec<Value> = own.filter(|name| *name != ORPHAN && *name != FOREGROUND).cloned().collect();
        // Events own nothing, and are too many to be collected.
        if !wanted.is_empty() && kind.stored_as() != ("", "events") {
            finalizers.push(wanted.into());
        }
        finalizers
    }

    /// The same for an object that met the preconditions and was changed since, by us.
    pub(crate) fn met(&self) -> Self {
        let uid = self.preconditions.as_ref().and_then(|wanted| wanted.uid.clone());
        Self { preconditions: uid.map(|uid| Preconditions { uid: Some(uid), resource_version: None }), ..self.clone() }
    }

    /// Refuses an object that is not the one that was meant.
    ///
    /// # Errors
    /// 409
    pub(crate) fn check_preconditions(&self, kind: &Kind, name: &str, object: &Value) -> Result<(), Status> {
        let Some(wanted) = &self.preconditions else { return Ok(()) };
        let own = metadata::text(object, "uid");
        // As upstream, which knows only of an object's kind here; namespaces have a check of their own.
        let is_namespace = kind.group.is_empty() && kind.plural == "namespaces";
        let about = if is_namespace { kind.resource() } else { Resource { group: kind.stored_as().0, plural: kind.kind } };
        let conflict = |why: &str| Err(Status::conflict(about, name, why));
        if let Some(uid) = wanted.uid.as_deref().filter(|uid| *uid != own) {
            if is_namespace {
                return conflict(&format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {own}"));
            }
            return conflict(&format!(
                "the UID in the precondition ({uid}) does not match the UID in record ({own}). The object might have been deleted \
                 and then recreated"
            ));
        }
        let own = metadata::text(object, "resourceVersion");
        if let Some(version) = wanted.resource_version.as_deref().filter(|version| *version != own) {
            return conflict(&format!(
                "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record ({own}). The \
                 object might have been modified"
            ));
        }
        Ok(())
    }
}

/// Deletes the object, now or when its time has come.
pub(crate) async fn answer(call: &Call, body: &[u8]) -> Result<Response, Status> {
    let options = DeleteOptions::read(call, body)?;
    if call.kind.plural == "namespaces" && matches!(call.name.as_str(), "default" | "kube-system" | "kube-public") {
        return Err(Status::forbidden(call.kind.resource(), &call.name, "this namespace may not be deleted"));
    }
    match remove(call, &call.name, &options).await? {
        Removed::Marked(outcome) => {
            let code = if options.orphan_dependents == Some(false) { 202 } else { 200 };
            call.object(code, &outcome)
        }
        Removed::Gone(object) if returns_object(call.kind) => call.object(200, &Outcome::Value(object)),
        Removed::Gone(object) => {
            let mut details = json!({ "name": call.name, "kind": call.kind.plural, "uid": metadata::text(&object, "uid") });
            if !call.kind.group.is_empty() {
                details["group"] = call.kind.group.into();
            }
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details,
            });
            Ok(reply::value(200, &status, call.format.media))
        }
    }
}

/// Upstream's `ReturnDeletedObject`.
fn returns_object(kind: &Kind) -> bool {
    kind.group.is_empty()
        && matches!(
            kind.plural,
            "pods"
                | "services"
                | "serviceaccounts"
                | "persistentvolumes"
                | "persistentvolumeclaims"
                | "podtemplates"
                | "resourcequotas"
        )
}

/// Deletes one object of the call's kind and namespace.
///
/// # Errors
/// 404 when there is none of that name, 409 when a precondition does not hold.
pub(crate) async fn remove(call: &Call, name: &str, options: &DeleteOptions) -> Result<Removed, Status> {
    let registry = &call.server.registry;
    for _ in 0..MAX_ATTEMPTS {
        let entry = registry.get(call.kind, &call.namespace, name).await?;
        if let Some(removed) = attempt(call, name, &entry, options).await? {
            return Ok(removed);
        }
    }
    Err(Status::conflict(call.kind.resource(), name, super::change::MODIFIED))
}

/// One try; `None` when another write came between.
async fn attempt(call: &Call, name: &str, entry: &Entry, options: &DeleteOptions) -> Result<Option<Removed>, Status> {
    let kind = call.kind;
    let old = registry::decode(kind, entry, entry.mod_revision)?;
    options.check_preconditions(kind, name, &old)?;
    let mut new = old.clone();
    let gone = if kind.group.is_empty() && kind.plural == "namespaces" {
        mark_namespace(&mut new, options, call.now)
    } else {
        mark(kind, &mut new, options, call.now)
    };
    if options.is_dry_run() {
        return Ok(Some(if gone { Removed::Gone(new) } else { Removed::Marked(Outcome::Value(new)) }));
    }
    if !gone && new == old {
        return Ok(Some(Removed::Marked(Outcome::Stored(entry.clone()))));
    }
    let change = if gone { Change::Delete } else { Change::Put(registry::encode(kind, &new), super::create::ttl(kind)) };
    match registry_write(call, entry, change).await? {
        None => Ok(None),
        Some(written) if gone => {
            call.server.released(kind, &old);
            metadata::map(&mut new).insert("resourceVersion".to_owned(), written.mod_revision.to_string().into());
            Ok(Some(Removed::Gone(new)))
        }
        Some(written) => Ok(Some(Removed::Marked(Outcome::Stored(written)))),
    }
}

async fn registry_write(call: &Call, entry: &Entry, change: Change) -> Result<Option<Entry>, Status> {
    match call.server.registry.store.write(&entry.key, Expect::Revision(entry.mod_revision), change).await {
        Ok(written) => Ok(Some(written)),
        Err(Error::Conflict(_)) => Ok(None),
        Err(error) => Err(registry::failed(&error)),
    }
}

/// Sets what a delete sets on the object, and says whether it can go at once.
fn mark(kind: &Kind, object: &mut Value, options: &DeleteOptions, now: Timestamp) -> bool {
    let asked = options.grace_period_seconds.map(|seconds| if seconds < 0 { 1 } else { seconds });
    if metadata::is_deleting(object) {
        let pending = object["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
        if pending > 0 {
            match asked {
                Some(seconds) if seconds < pending => shorten(object, pending, seconds),
                // Finalizers cannot be changed by a second delete while the first is under way.
                _ => return false,
            }
            return object["metadata"]["deletionGracePeriodSeconds"] == 0 && !metadata::has_finalizers(object);
        }
        return !metadata::has_finalizers(object);
    }
    let finalizers = options.collection_finalizers(kind, object);
    let pending = !finalizers.is_empty();
    set_finalizers(object, finalizers);
    let grace = if kind.group.is_empty() && kind.plural == "pods" { pod::grace_period_seconds(object, asked) } else { 0 };
    if grace == 0 && !pending {
        // Nobody sees the mark but who reads the answer and the last event.
        set_deletion(object, now, 0);
        return true;
    }
    set_deletion(object, now, grace);
    if let Some(generation) = object["metadata"]["generation"].as_i64().filter(|generation| *generation > 0) {
        object["metadata"]["generation"] = (generation + 1).into();
    }
    false
}

/// A namespace is terminating until the controller has emptied it and taken itself off `spec.finalizers`.
fn mark_namespace(object: &mut Value, options: &DeleteOptions, now: Timestamp) -> bool {
    if !metadata::is_deleting(object) {
        let mut finalizers: Vec<Value> = object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
        let wanted = match options.propagation_policy.as_deref() {
            Some("Orphan") => Some(ORPHAN),
            Some("Foreground") => Some(FOREGROUND),
            _ => options.orphan_dependents.unwrap_or(false).then_some(ORPHAN),
        };
        finalizers.extend(wanted.filter(|wanted| !finalizers.iter().any(|own| own == wanted)).map(Value::from));
        set_finalizers(object, finalizers);
        metadata::map(object).insert("deletionTimestamp".to_owned(), metadata::timestamp(now).into());
    }
    object["status"]["phase"] = "Terminating".into();
    let finalizers = object["spec"]["finalizers"].as_array().is_none_or(Vec::is_empty);
    finalizers && !metadata::has_finalizers(object)
}

fn set_deletion(object: &mut Value, now: Timestamp, grace_seconds: i64) {
    let at = now.checked_add(SignedDuration::from_secs(grace_seconds)).unwrap_or(now);
    let metadata = metadata::map(object);
    metadata.insert("deletionTimestamp".to_owned(), metadata::timestamp(at).into());
    metadata.insert("deletionGracePeriodSeconds".to_owned(), grace_seconds.into());
}

/// The new end counts from when the object was first deleted.
fn shorten(object: &mut Value, pending: i64, seconds: i64) {
    let end: Option<Timestamp> = object["metadata"]["deletionTimestamp"].as_str().and_then(|text| text.parse().ok());
    let Some(end) = end else { return };
    let at = end.checked_sub(SignedDuration::from_secs(pending - seconds)).unwrap_or(end);
    let metadata = metadata::map(object);
    metadata.insert("deletionTimestamp".to_owned(), metadata::timestamp(at).into());
    metadata.insert("deletionGracePeriodSeconds".to_owned(), seconds.into());
}

fn set_finalizers(object: &mut Value, finalizers: Vec<Value>) {
    let metadata = metadata::map(object);
    if finalizers.is_empty() {
        metadata.remove("finalizers");
    } else {
        metadata.insert("finalizers".to_owned(), finalizers.into());
    }
}
