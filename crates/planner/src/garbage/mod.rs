//! Garbage: objects whose owners are gone, or are waiting for them to go.
//!
//! <https://kubernetes.io/docs/concepts/architecture/garbage-collection/>

mod graph;
mod judge;
#[cfg(test)]
mod tests;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use windlass_api::kind::Kind;

pub use self::graph::Graph;
use crate::owner;

/// Finalizer of an object that goes only after what it owns.
pub const FINALIZER_FOREGROUND: &str = "foregroundDeletion";
/// Finalizer of an object that leaves behind what it owns.
pub const FINALIZER_ORPHAN: &str = "orphan";

/// Which object is meant.
#[derive(Debug, Clone, Copy)]
pub struct Identity<'a> {
    /// Its kind.
    pub kind: &'static Kind,
    /// Its namespace; empty without one.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its uid.
    pub uid: &'a str,
}

/// What of an object decides about its end.
#[derive(Debug, Clone)]
pub struct Object {
    /// Its kind.
    pub kind: &'static Kind,
    /// Its namespace; empty without one.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Guards what is done to it.
    pub resource_version: String,
    /// Who owns it.
    pub owners: Vec<OwnerReference>,
    /// It is marked for deletion.
    pub deleting: bool,
    /// What has to be done before it goes.
    pub finalizers: Vec<String>,
}

impl Object {
    /// From the metadata of an object.
    pub fn new(kind: &'static Kind, meta: &ObjectMeta) -> Self {
        Self {
            kind,
            namespace: owner::namespace(meta).to_owned(),
            name: owner::name(meta).to_owned(),
            uid: owner::uid(meta).to_owned(),
            resource_version: meta.resource_version.clone().unwrap_or_default(),
            owners: meta.owner_references.clone().unwrap_or_default(),
            deleting: meta.deletion_timestamp.is_some(),
            finalizers: meta.finalizers.clone().unwrap_or_default(),
        }
    }

    /// Which object it is.
    pub fn identity(&self) -> Identity<'_> {
        Identity { kind: self.kind, namespace: &self.namespace, name: &self.name, uid: &self.uid }
    }

    fn has_finalizer(&self, name: &str) -> bool {
        self.finalizers.iter().any(|finalizer| finalizer == name)
    }

    fn waits_for_dependents(&self) -> bool {
        self.deleting && self.has_finalizer(FINALIZER_FOREGROUND)
    }

    fn orphans_dependents(&self) -> bool {
        self.deleting && self.has_finalizer(FINALIZER_ORPHAN)
    }
}

/// What becomes of the dependents of an object that is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// They go after it.
    Background,
    /// They go before it.
    Foreground,
    /// They stay.
    Orphan,
}

impl Propagation {
    /// As `propagationPolicy` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Background => "Background",
            Self::Foreground => "Foreground",
            Self::Orphan => "Orphan",
        }
    }
}

/// Why something is done to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// An owner that is not known here may exist all the same: the view may be behind.
    OwnerUnknown,
    /// No owner is left.
    OwnersGone,
    /// Every owner that is left waits for it to go.
    OwnersWaiting,
    /// An owner and a dependent both wait: it may be that they wait for each other.
    Circle,
    /// Some owners are gone or wait, but another one stays.
    OtherOwnerStays,
    /// The owner leaves it behind.
    Orphaned,
    /// Nothing blocks the owner any more.
    NothingLeft,
}

/// What to do to one object.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Ask whether this owner of an object in that namespace exists, and tell the graph if it does not.
    Verify {
        /// The owner.
        owner: OwnerReference,
        /// Where it would be if its kind has namespaces.
        namespace: String,
    },
    /// Delete it, if it still is as it was seen.
    Delete(Propagation),
    /// Give it these owners, if it still is as it was seen.
    SetOwners(Vec<OwnerReference>),
    /// Leave it these finalizers, if it still is as it was seen.
    SetFinalizers(Vec<String>),
}

/// What to do, to which object, and why.
#[derive(Debug, Clone)]
pub struct Step {
    /// The object as it was seen.
    pub object: Object,
    /// What to do.
    pub action: Action,
    /// Why.
    pub reason: Reason,
}
