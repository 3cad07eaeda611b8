//! What is wrong with an object, in upstream's order and with upstream's paths and words (Kubernetes 1.36).
//!
//! The rules run on JSON after decoding and defaulting, so they may rely on what [`crate::defaults`] fills in. They are
//! those of `pkg/apis/*/validation`; where upstream walks a map in random order, the order here is that of its keys.

mod address;
mod apps;
mod autoscaling;
mod batch;
mod cluster;
mod cluster_ip;
mod config;
mod endpoints;
mod equal;
mod error;
mod errors;
mod event;
mod field;
pub(crate) mod format;
mod metadata;
mod networking;
mod pod;
mod policy;
mod quota;
mod rbac;
mod runtime_class;
mod selector;
mod service;
mod service_cidr;
mod storage;
mod warnings;

use serde_json::Value;

use errors::Errors;
use field::Field;

pub(crate) use error::quoted;
pub use error::{Cause, FieldError};
pub use metadata::NameRule;
pub use warnings::{creation_warnings, warnings};

/// Mistakes in the metadata of a new object, once its name has been generated. `path` is mostly `metadata`.
pub fn metadata(metadata: &Value, namespaced: bool, rule: NameRule, path: &str) -> Vec<FieldError> {
    let mut errors = Errors::default();
    metadata::create(&Field::new(path, metadata), namespaced, rule, &mut errors);
    errors.0
}

/// Mistakes in a change of metadata; `new` has a resource version by now. `path` is mostly `metadata`.
pub fn metadata_update(new: &Value, old: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Errors::default();
    metadata::update(&Field::new(path, new), &Field::new(path, old), &mut errors);
    errors.0
}

/// Mistakes in a new object, but for its metadata.
pub fn create(group: &str, kind: &str, object: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let (object, errors_in) = (&Field::root(object), &mut errors);
    match (group, kind) {
        ("", "Pod") => pod::create(object, errors_in),
        ("", "PodTemplate") => pod::template(&object.get("template"), errors_in),
        ("", "ReplicationController") => apps::replication_controller(object, errors_in),
        ("", "Service") => service::service(object, errors_in),
        ("", "Endpoints") => endpoints::endpoints(object, errors_in),
        ("", "ConfigMap") => config::config_map(object, errors_in),
        ("", "Secret") => config::secret(object, errors_in),
        ("", "Namespace") => cluster::namespace(object, errors_in),
        ("", "Node") => cluster::node(object, errors_in),
        ("", "Event") => event::core(object, errors_in),
        ("", "LimitRange") => quota::limit_range(object, errors_in),
        ("", "ResourceQuota") => quota::resource_quota(object, errors_in),
        ("", "PersistentVolume") => storage::persistent_volume(object, errors_in),
        ("", "PersistentVolumeClaim") => storage::persistent_volume_claim(object, errors_in),
        ("", "Binding") => cluster::binding(object, errors_in),
        ("apps", "Deployment") => apps::deployment(object, errors_in),
        ("apps", "ReplicaSet") => apps::replica_set(object, errors_in),
        ("apps", "StatefulSet") => apps::stateful_set(object, errors_in),
        ("apps", "DaemonSet") => apps::daemon_set(object, errors_in),
        ("apps", "ControllerRevision") => apps::controller_revision(object, errors_in),
        ("autoscaling", "HorizontalPodAutoscaler") => autoscaling::horizontal_pod_autoscaler(object, errors_in),
        ("autoscaling", "Scale") => cluster::scale(object, errors_in),
        ("batch", "Job") => batch::job(object, errors_in),
        ("batch", "CronJob") => batch::cron_job(object, errors_in),
        ("networking.k8s.io", "Ingress") => networking::ingress(object, errors_in),
        ("networking.k8s.io", "IngressClass") => networking::ingress_class(object, errors_in),
        ("networking.k8s.io", "IPAddress") => service_cidr::ip_address(object, errors_in),
        ("networking.k8s.io", "NetworkPolicy") => networking::network_policy(object, errors_in),
        ("networking.k8s.io", "ServiceCIDR") => service_cidr::service_cidr(object, errors_in),
        ("coordination.k8s.io", "Lease") => cluster::lease(object, errors_in),
        ("discovery.k8s.io", "EndpointSlice") => endpoints::endpoint_slice(object, errors_in),
        ("events.k8s.io", "Event") => event::create(object, errors_in),
        ("node.k8s.io", "RuntimeClass") => runtime_class::runtime_class(object, errors_in),
        ("policy", "PodDisruptionBudget") => policy::pod_disruption_budget(object, errors_in),
        ("rbac.authorization.k8s.io", "Role") => rbac::role(object, true, errors_in),
        ("rbac.authorization.k8s.io", "ClusterRole") => rbac::role(object, false, errors_in),
        ("rbac.authorization.k8s.io", "RoleBinding") => rbac::role_binding(object, true, errors_in),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding") => rbac::role_binding(object, false, errors_in),
        ("scheduling.k8s.io", "PriorityClass") => cluster::priority_class(object, errors_in),
        ("storage.k8s.io", "StorageClass") => storage::storage_class(object, errors_in),
        _ => {}
    }
    errors.0
}

/// Mistakes in a change of an object, but for those of its metadata.
pub fn update(group: &str, kind: &str, new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let (after, before, errors_in) = (&Field::root(new), &Field::root(old), &mut errors);
    match (group, kind) {
        ("", "Pod") => pod::update(after, before, errors_in),
        ("", "Service") => service::update(after, before, errors_in),
        ("", "ConfigMap") => config::config_map_update(after, before, errors_in),
        ("", "Secret") => config::secret_update(after, before, errors_in),
        ("", "Namespace") => {}
        ("", "Node") => cluster::node_update(after, before, errors_in),
        ("", "ResourceQuota") => quota::resource_quota_update(after, before, errors_in),
        ("", "PersistentVolume") => storage::persistent_volume_update(after, before, errors_in),
        ("", "PersistentVolumeClaim") => storage::persistent_volume_claim_update(after, before, errors_in),
        ("apps", "StatefulSet") => apps::stateful_set_update(after, before, errors_in),
        ("apps", "ControllerRevision") => apps::controller_revision_update(after, before, errors_in),
        ("apps", "Deployment" | "ReplicaSet" | "DaemonSet") => {
            errors_in.0 = create(group, kind, new);
            apps::immutable_selector(after, before, errors_in);
        }
        ("batch", "Job") => batch::job_update(after, before, errors_in),
        ("discovery.k8s.io", "EndpointSlice") => endpoints::endpoint_slice_update(after, before, errors_in),
        ("events.k8s.io", "Event") => event::update(after, before, errors_in),
        ("networking.k8s.io", "IPAddress") => service_cidr::ip_address_update(after, before, errors_in),
        ("networking.k8s.io", "ServiceCIDR") => service_cidr::service_cidr_update(after, before, errors_in),
        ("node.k8s.io", "RuntimeClass") => runtime_class::runtime_class_update(after, before, errors_in),
        ("rbac.authorization.k8s.io", "RoleBinding") => rbac::role_binding_update(after, before, true, errors_in),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding") => rbac::role_binding_update(after, before, false, errors_in),
        ("scheduling.k8s.io", "PriorityClass") => cluster::priority_class_update(after, before, errors_in),
        ("storage.k8s.io", "StorageClass") => storage::storage_class_update(after, before, errors_in),
        _ => return create(group, kind, new),
    }
    errors.0
}

/// Mistakes in a write to `/status`, but for those of the metadata.
pub fn status(group: &str, kind: &str, new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let (after, before, errors_in) = (&Field::root(new), &Field::root(old), &mut errors);
    let status = after.get("status");
    match (group, kind) {
        ("", "Pod") => pod::status(after, before, errors_in),
        ("", "Service") => service::status(after, errors_in),
        ("", "Namespace") => cluster::namespace_status(after, errors_in),
        ("", "Node") => cluster::node_update(after, before, errors_in),
        ("", "ResourceQuota") => quota::quota_status(after, errors_in),
        ("", "PersistentVolumeClaim") => storage::persistent_volume_claim_status(after, errors_in),
        ("autoscaling", "HorizontalPodAutoscaler") => autoscaling::status(&status, errors_in),
        ("policy", "PodDisruptionBudget") => policy::status(after, errors_in),
        ("", "ReplicationController") | ("apps", "ReplicaSet") => apps::counts(
            &status,
            &[
                "replicas",
                "fullyLabeledReplicas",
                "readyReplicas",
                "availableReplicas",
                "terminatingReplicas",
                "observedGeneration",
            ],
            &[
                ("fullyLabeledReplicas", "replicas"),
                ("readyReplicas", "replicas"),
                ("availableReplicas", "replicas"),
                ("availableReplicas", "readyReplicas"),
            ],
            errors_in,
        ),
        ("apps", "Deployment") => apps::deployment_status(after, before, errors_in),
        ("apps", "StatefulSet") => apps::stateful_set_status(after, before, errors_in),
        ("apps", "DaemonSet") => apps::daemon_set_status(after, before, errors_in),
        _ => {}
    }
    errors.0
}

/// Mistakes in a write to `/ephemeralcontainers` of a pod, but for those of its metadata.
pub fn ephemeral_containers(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    pod::ephemeral_containers(&Field::root(new), &Field::root(old), &mut errors);
    errors.0
}

/// Mistakes in a write to `/resize` of a pod, but for those of its metadata.
pub fn resize(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    pod::resize(&Field::root(new), &Field::root(old), &mut errors);
    errors.0
}

#[cfg(test)]
mod tests;
