//! The table of kinds: a new kind is a new entry here, never a new handler.

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    columns::Column,
    validation::{self, FieldError, NameRule},
};

pub mod apps;
pub mod autoscaling;
pub mod batch;
pub mod coordination;
pub mod core;
pub mod discovery;
pub mod events;
mod label_keys;
pub mod networking;
pub mod node;
mod part;
pub mod policy;
mod prepare;
pub mod rbac;
pub mod scheduling;
mod service;
mod shared;
pub mod storage;

pub use shared::Shared;

/// A field that a field selector may name, besides `metadata.name` and `metadata.namespace`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SelectableField {
    /// Name in the selector, such as `spec.nodeName`.
    pub name: &'static str,
    /// JSON pointers into the object as it is stored; the first that leads to a value counts.
    pub pointers: &'static [&'static str],
    /// Value of an absent field.
    pub default: &'static str,
}

/// When `metadata.generation` grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// The kind has none.
    Untracked,
    /// It is 1 for good.
    Constant,
    /// A change of anything but metadata and status counts.
    Spec,
    /// As `Spec`, and a change of the annotations counts too (Deployment: the controller copies them to its ReplicaSets).
    SpecAndAnnotations,
}

/// A resource below an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subresource {
    /// `/status`: writes touch only status (and some metadata).
    Status,
    /// `/scale`: autoscaling/v1 Scale.
    Scale,
    /// `/log` of a pod.
    Log,
    /// `/binding` of a pod.
    Binding,
    /// `/eviction` of a pod.
    Eviction,
    /// `/ephemeralcontainers` of a pod.
    EphemeralContainers,
    /// `/resize` of a pod.
    Resize,
    /// `/exec` of a pod.
    Exec,
    /// `/attach` of a pod.
    Attach,
    /// `/portforward` of a pod.
    PortForward,
    /// `/proxy` of a pod, Service or node, and whatever lies below; the kind of its options.
    Proxy(&'static str),
    /// `/finalize` of a namespace.
    Finalize,
    /// `/token` of a service account.
    Token,
}

/// One kind in one group and version.
///
/// Objects are whole JSON values with `apiVersion`, `kind` and `metadata`. Every function is pure.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// API group, empty for core.
    pub group: &'static str,
    /// Version, such as `v1`.
    pub version: &'static str,
    /// Kind, such as `Deployment`.
    pub kind: &'static str,
    /// Lower-case plural, the path segment.
    pub plural: &'static str,
    /// Lower-case singular.
    pub singular: &'static str,
    /// What kubectl takes instead: `deploy`.
    pub short_names: &'static [&'static str],
    /// Such as `all`.
    pub categories: &'static [&'static str],
    /// What may be done with it, in the order of the alphabet.
    pub verbs: &'static [&'static str],
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// Resources below each object.
    pub subresources: &'static [Subresource],
    /// When `metadata.generation` grows.
    pub generation: Generation,
    /// The kind whose shape the store keeps, where two kinds are views of the same objects.
    pub stored_as: Option<Shared>,
    /// Columns of a Table answer, in order.
    pub columns: &'static [Column],
    /// The cells of one table row, as many as there are columns.
    pub row: fn(&Value, Timestamp) -> Vec<Value>,
    /// Fields that a field selector may name.
    pub selectable: &'static [SelectableField],
    /// What every answer warns of, if the kind is on its way out.
    pub deprecation: Option<&'static str>,
    /// Whether a `PUT` to a name that does not exist creates the object.
    pub creates_on_update: bool,
    /// Whether a `PUT` without a resource version overwrites whatever is there.
    pub updates_unconditionally: bool,
    /// Sets what a new object starts with, such as its status.
    initial: fn(&mut Value),
    /// Sets what follows from the name and uid of a new object, each time it is given a name.
    named: fn(&mut Value),
    /// Carries over what this kind keeps on an update of the main resource, besides status; `(new, old)`.
    keep: fn(&mut Value, &Value),
    /// Carries over what this kind keeps on a write to `/status`; `(new, old)`.
    keep_status: fn(&mut Value, &Value),
}

/// Verbs of a resource that can be written, read and watched.
const ALL_VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// What most kinds have in common; an entry of the table says only where it differs.
const BASE: Kind = Kind {
    group: "",
    version: "v1",
    kind: "",
    plural: "",
    singular: "",
    short_names: &[],
    categories: &[],
    verbs: ALL_VERBS,
    namespaced: true,
    subresources: &[],
    generation: Generation::Untracked,
    stored_as: None,
    columns: crate::columns::NAME_AND_CREATED,
    row: crate::columns::name_and_created,
    selectable: &[],
    deprecation: None,
    creates_on_update: false,
    updates_unconditionally: true,
    initial: |_| {},
    named: |_| {},
    keep: |_, _| {},
    keep_status: |_, _| {},
};

/// Every kind that is served.
pub static KINDS: &[Kind] = &[
    core::COMPONENT_STATUS,
    core::CONFIG_MAP,
    core::ENDPOINTS,
    core::EVENT,
    core::LIMIT_RANGE,
    core::NAMESPACE,
    core::NODE,
    core::PERSISTENT_VOLUME_CLAIM,
    core::PERSISTENT_VOLUME,
    core::POD,
    core::POD_TEMPLATE,
    core::REPLICATION_CONTROLLER,
    core::RESOURCE_QUOTA,
    core::SECRET,
    core::SERVICE_ACCOUNT,
    core::SERVICE,
    apps::CONTROLLER_REVISION,
    apps::DAEMON_SET,
    apps::DEPLOYMENT,
    apps::REPLICA_SET,
    apps::STATEFUL_SET,
    events::EVENT,
    autoscaling::HORIZONTAL_POD_AUTOSCALER,
    autoscaling::HORIZONTAL_POD_AUTOSCALER_V1,
    batch::CRON_JOB,
    batch::JOB,
    networking::INGRESS_CLASS,
    networking::INGRESS,
    networking::IP_ADDRESS,
    networking::NETWORK_POLICY,
    networking::SERVICE_CIDR,
    policy::POD_DISRUPTION_BUDGET,
    rbac::CLUSTER_ROLE_BINDING,
    rbac::CLUSTER_ROLE,
    rbac::ROLE_BINDING,
    rbac::ROLE,
    storage::STORAGE_CLASS,
    scheduling::PRIORITY_CLASS,
    coordination::LEASE,
    node::RUNTIME_CLASS,
    discovery::ENDPOINT_SLICE,
];

/// The kind served at `/apis/GROUP/VERSION/PLURAL` (`/api/v1/PLURAL` for the core group, which is `""`).
pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.plural == plural && kind.group == group && kind.version == version)
}

/// The kind that an object of this group, version and kind belongs to.
pub fn find_kind(group: &str, version: &str, kind: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|entry| entry.kind == kind && entry.group == group && entry.version == version)
}

/// The kind of an object by its `apiVersion` and `kind`, as owner references name it too.
pub fn find_object(api_version: &str, kind: &str) -> Option<&'static Kind> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    find_kind(group, version, kind)
}

impl Kind {
    /// `v1`, `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// Group and plural as messages print them: `pods`, `deployments.apps`.
    pub fn resource(&self) -> crate::status::Resource<'static> {
        crate::status::Resource { group: self.group, plural: self.plural }
    }

    /// Whether `/{name}/SUBRESOURCE` exists.
    pub fn has(&self, subresource: Subresource) -> bool {
        self.subresources.contains(&subresource)
    }

    /// Mistakes in a new object, which has its name, defaults and initial values by now.
    pub fn validate(&self, object: &Value) -> Vec<FieldError> {
        let rule = NameRule::of(self.group, self.kind);
        let mut errors = validation::metadata(&object["metadata"], self.namespaced, rule, "metadata");
        errors.extend(validation::create(self.group, self.kind, object));
        errors
    }

    /// Mistakes in a change of the main resource; `new` has a resource version.
    pub fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = validation::metadata_update(&new["metadata"], &old["metadata"], "metadata");
        errors.extend(validation::update(self.group, self.kind, new, old));
        errors
    }

    /// Mistakes in a write to `/status`; `new` has a resource version.
    pub fn validate_status(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = validation::metadata_update(&new["metadata"], &old["metadata"], "metadata");
        errors.extend(validation::status(self.group, self.kind, new, old));
        errors
    }

    /// Mistakes in a write to a part of a pod that has a path of its own.
    pub fn validate_part(&self, part: Subresource, new: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = validation::metadata_update(&new["metadata"], &old["metadata"], "metadata");
        errors.extend(match part {
            Subresource::EphemeralContainers => validation::ephemeral_containers(new, old),
            Subresource::Resize => validation::resize(new, old),
            _ => Vec::new(),
        });
        errors
    }

    /// `Warning:` headers for a new object that is allowed all the same.
    pub fn creation_warnings(&self, object: &Value) -> Vec<String> {
        validation::creation_warnings(self.group, self.kind, object)
    }

    /// `Warning:` headers for a change that is allowed all the same.
    pub fn warnings(&self, object: &Value) -> Vec<String> {
        validation::warnings(self.group, self.kind, object)
    }

    /// Fills in upstream's defaults; idempotent.
    pub fn apply_defaults(&self, object: &mut Value) {
        crate::defaults::apply(self.group, self.kind, object);
    }
}

impl Subresource {
    /// The path segment.
    pub fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Scale => "scale",
            Self::Log => "log",
            Self::Binding => "binding",
            Self::Eviction => "eviction",
            Self::EphemeralContainers => "ephemeralcontainers",
            Self::Resize => "resize",
            Self::Exec => "exec",
            Self::Attach => "attach",
            Self::PortForward => "portforward",
            Self::Proxy(_) => "proxy",
            Self::Finalize => "finalize",
            Self::Token => "token",
        }
    }

    /// Group, version and kind of the body it takes or gives; `None` is the kind of the object itself.
    pub fn body(self) -> Option<(&'static str, &'static str, &'static str)> {
        match self {
            Self::Scale => Some(("autoscaling", "v1", "Scale")),
            Self::Binding => Some(("", "v1", "Binding")),
            Self::Eviction => Some(("policy", "v1", "Eviction")),
            Self::Exec => Some(("", "v1", "PodExecOptions")),
            Self::Attach => Some(("", "v1", "PodAttachOptions")),
            Self::PortForward => Some(("", "v1", "PodPortForwardOptions")),
            Self::Proxy(options) => Some(("", "v1", options)),
            Self::Token => Some(("authentication.k8s.io", "v1", "TokenRequest")),
            Self::Status | Self::Log | Self::EphemeralContainers | Self::Resize | Self::Finalize => None,
        }
    }

    /// What may be done with it.
    pub fn verbs(self) -> &'static [&'static str] {
        match self {
            Self::Status | Self::Scale | Self::EphemeralContainers | Self::Resize => &["get", "patch", "update"],
            Self::Log => &["get"],
            Self::Binding | Self::Eviction | Self::Token => &["create"],
            Self::Exec | Self::Attach | Self::PortForward => &["create", "get"],
            Self::Proxy(_) => &["create", "delete", "get", "patch", "update"],
            Self::Finalize => &["update"],
        }
    }
}

#[cfg(test)]
mod tests;
