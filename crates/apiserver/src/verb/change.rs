//! The one way in which an object that exists is changed: read, edit, check, compare and swap.

use std::time::Duration;

use serde_json::Value;
use windlass_api::{
    kind::Subresource,
    status::Status,
    validation::{Cause, FieldError},
};
use windlass_storage::{Change as Write, Entry, Error, Expect};

use crate::{
    admission,
    call::{Call, Outcome},
    fields::Books,
    metadata, quota,
    registry::{self, record},
    verb::create,
};

/// What clients recognise a lost race by.
pub(crate) const MODIFIED: &str = "the object has been modified; please apply your changes to the latest version and try again";

/// Races that one request may lose before it gives up; each means that another write went through.
const MAX_ATTEMPTS: usize = 100;

/// How long the answer to a change of a Service waits for its effect, which comes within milliseconds where anybody routes.
const ROUTES_PATIENCE: Duration = Duration::from_secs(1);

/// Which part of an object a request may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Surface {
    /// Everything but status.
    Main,
    /// Status and some of metadata.
    Status,
    /// A part of a pod that has a path of its own: ephemeral containers, or resources.
    Part(Subresource),
    /// What the server itself decides to: bindings, scale, finalizers.
    Own,
}

/// A change of the object that a call names.
pub(crate) struct Change<'a> {
    pub(crate) call: &'a Call,
    pub(crate) surface: Surface,
    /// How the change is booked in `managedFields`.
    pub(crate) books: Books,
    pub(crate) dry_run: bool,
    /// Whether an object without `resourceVersion` overwrites whatever is there.
    pub(crate) unconditional: bool,
}

impl Change<'_> {
    /// Applies `edit` to the object as it is now until no other write comes between.
    ///
    /// # Errors
    /// 404 when there is no such object, 409 when it is not the one that was meant, 422 when the result breaks a rule, and
    /// whatever `edit` says.
    pub(crate) async fn apply(&self, edit: &mut (dyn FnMut(&Value) -> Result<Value, Status> + Send)) -> Result<Outcome, Status> {
        let (call, registry) = (self.call, &self.call.server.registry);
        for _ in 0..MAX_ATTEMPTS {
            let entry = registry.get(call.kind, &call.namespace, &call.name).await?;
            match self.attempt(&entry, edit).await? {
                Some(outcome) => return Ok(outcome),
                None => tokio::task::yield_now().await,
            }
        }
        Err(Status::conflict(call.kind.resource(), &call.name, MODIFIED))
    }

    /// One try; `None` when another write came between.
    async fn attempt(
        &self,
        entry: &Entry,
        edit: &mut (dyn FnMut(&Value) -> Result<Value, Status> + Send),
    ) -> Result<Option<Outcome>, Status> {
        let (call, kind) = (self.call, self.call.kind);
        let old = registry::decode(kind, entry, entry.mod_revision)?;
        let mut new = edit(&old)?;
        self.check_identity(&new, &old, entry)?;
        self.prepare(&mut new, &old);
        if new == old {
            // Nothing is written, but who writes is told what is wrong all the same.
            admission::changed(call, &new, &old).await?;
            return Ok(Some(Outcome::Stored(entry.clone())));
        }
        // What is given out here is validated too.
        let reservation = create::reserve(call, &mut new, Some(&old))?;
        self.validate(&new, &old)?;
        admission::changed(call, &new, &old).await?;
        let charge = self.charge(&new, &old).await?;
        if self.dry_run {
            return Ok(Some(Outcome::Value(new)));
        }
        let turn = call.server.quotas.write(call).await;
        let expect = Expect::Revision(entry.mod_revision);
        let gone = is_finished(&new);
        let write = if gone { Write::Delete } else { Write::Put(registry::encode(kind, &new), create::ttl(kind)) };
        let outcome = call.server.registry.store.write(&entry.key, expect, write).await;
        drop(turn);
        match outcome {
            Ok(written) if gone => {
                call.server.released(kind, &old);
                metadata::map(&mut new).insert("resourceVersion".to_owned(), written.mod_revision.to_string().into());
                Ok(Some(Outcome::Value(new)))
            }
            Ok(written) => {
                reservation.keep();
                if let Some(charge) = charge {
                    charge.note().await;
                }
                self.take_effect(&new, &old, written.mod_revision).await;
                Ok(Some(Outcome::Stored(written)))
            }
            Err(Error::Conflict(_)) => Ok(None),
            Err(error) => Err(registry::failed(&error)),
        }
    }

    /// What a change takes of quotas: of a pod only its resources grow, of other kinds their spec.
    async fn charge(&self, new: &Value, old: &Value) -> Result<Option<quota::Charge<'_>>, Status> {
        let call = self.call;
        let can_grow = match (call.kind.group, call.kind.plural) {
            ("", "pods") => self.surface == Surface::Part(Subresource::Resize),
            ("", "services" | "persistentvolumeclaims") => self.surface == Surface::Main,
            _ => false,
        };
        if !can_grow || metadata::is_deleting(old) || new["spec"] == old["spec"] {
            return Ok(None);
        }
        admission::grown(call, new).await?;
        quota::charge(call, new, Some(old)).await.map(Some)
    }

    /// A Service that leads elsewhere by this change has done so when the client hears that it was taken.
    async fn take_effect(&self, new: &Value, old: &Value, revision: u64) {
        let kind = self.call.kind;
        if kind.group.is_empty() && kind.plural == "services" && self.surface == Surface::Main && new["spec"] != old["spec"] {
            let reached = self.call.server.routes.reached(revision);
            if tokio::time::timeout(ROUTES_PATIENCE, reached).await.is_err() {
                tracing::warn!(service = %self.call.name, "a changed Service is not in effect yet");
            }
        }
    }

    /// The object must be the one that the client saw, where it says which.
    fn check_identity(&self, new: &Value, old: &Value, entry: &Entry) -> Result<(), Status> {
        let (call, kind) = (self.call, self.call.kind);
        let (uid, own_uid) = (metadata::text(new, "uid"), metadata::text(old, "uid"));
        if !uid.is_empty() && uid != own_uid {
            let why = format!(
                "StorageError: invalid object, Code: 4, Key: {}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: \
                 UID in precondition: {uid}, UID in object meta: {own_uid}",
                entry.key
            );
            return Err(Status::conflict(kind.resource(), &call.name, &why));
        }
        match metadata::text(new, "resourceVersion") {
            "" | "0" if self.unconditional => Ok(()),
            "" | "0" => {
                let error = FieldError {
                    cause: Cause::Invalid,
                    field: "metadata.resourceVersion".to_owned(),
                    bad_value: 0.into(),
                    detail: "must be specified for an update".to_owned(),
                };
                Err(Status::invalid(kind.group, kind.plural, &call.name, &[error]))
            }
            version if version == entry.mod_revision.to_string() => Ok(()),
            _ => Err(Status::conflict(kind.resource(), &call.name, MODIFIED)),
        }
    }

    /// Defaults, carries over what this request may not change, and books who changed what.
    fn prepare(&self, new: &mut Value, old: &Value) {
        let kind = self.call.kind;
        kind.apply_defaults(new);
        metadata::carry_over(new, old);
        match self.surface {
            Surface::Main => {
                admission::complete(kind, new, old);
                kind.prepare_update(new, old);
            }
            Surface::Status => kind.prepare_status(new, old),
            Surface::Part(part) => kind.prepare_part(part, new, old),
            Surface::Own => {}
        }
        self.books.keep(self.call, new, Some(old));
        metadata::map(new).insert("resourceVersion".to_owned(), old["metadata"]["resourceVersion"].clone());
    }

    fn validate(&self, new: &Value, old: &Value) -> Result<(), Status> {
        let kind = self.call.kind;
        let errors = match self.surface {
            Surface::Main => kind.validate_update(new, old),
            Surface::Status => kind.validate_status(new, old),
            Surface::Part(part) => kind.validate_part(part, new, old),
            Surface::Own => Vec::new(),
        };
        if !errors.is_empty() {
            return Err(Status::invalid(kind.group, kind.kind, &self.call.name, &errors));
        }
        if self.surface == Surface::Main {
            for warning in kind.warnings(new) {
                self.call.warn(warning);
            }
        }
        Ok(())
    }
}

/// Whether the last thing that kept a deleted object has just gone.
fn is_finished(new: &Value) -> bool {
    if !metadata::is_deleting(new) || metadata::has_finalizers(new) {
        return false;
    }
    if new["kind"] == "Namespace" && new["apiVersion"] == "v1" {
        return new["spec"]["finalizers"].as_array().is_none_or(Vec::is_empty);
    }
    // Within its grace a pod is its kubelet's: only that ends it.
    new["metadata"]["deletionGracePeriodSeconds"].as_i64() == Some(0)
}

/// The object of an outcome, decoded.
///
/// # Errors
/// 500 when the store is damaged.
pub(crate) fn value(outcome: &Outcome) -> Result<Value, Status> {
    match outcome {
        Outcome::Stored(entry) => record::decode(entry),
        Outcome::Value(value) => Ok(value.clone()),
    }
}
