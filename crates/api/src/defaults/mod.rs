//! Upstream's defaults: what an object means where its author said nothing.
//!
//! Defaults are those of Kubernetes 1.36 (`pkg/apis/*/v1/defaults.go`), together with what upstream's conversions do on the
//! way in (`stringData`, `serviceAccount`) and the fields that its encoder always writes (`status: {}`).

mod apps;
mod autoscaling;
mod batch;
mod container;
mod core;
mod fill;
mod pod;
mod quantities;
mod storage;
mod volume;
mod written;

use serde_json::Value;

use fill::{blank, each, inside};

/// Fills in what upstream fills in for an object of this kind. Idempotent; a value of the wrong JSON type stays as it is.
///
/// ```
/// let mut secret = serde_json::json!({ "stringData": { "user": "admin" } });
/// windlass_api::defaults::apply("", "Secret", &mut secret);
/// assert_eq!(secret, serde_json::json!({ "data": { "user": "YWRtaW4=" }, "type": "Opaque" }));
/// ```
pub fn apply(group: &str, kind: &str, object: &mut Value) {
    if !object.is_object() {
        return;
    }
    match (group, kind) {
        ("", "Pod") => pod::pod(object),
        ("", "PodTemplate") => pod::template(object, "template"),
        ("", "ReplicationController") => core::replication_controller(object),
        ("", "Service") => core::service(object),
        ("", "Endpoints") => core::endpoints(object),
        ("", "Secret") => core::secret(object),
        ("", "Namespace") => core::namespace(object),
        ("", "Node") => core::node(object),
        ("", "LimitRange") => core::limit_range(object),
        ("", "ResourceQuota") => core::resource_quota(object),
        ("", "PersistentVolume") => storage::persistent_volume(object),
        ("", "PersistentVolumeClaim") => storage::persistent_volume_claim(object),
        ("storage.k8s.io", "StorageClass") => storage::storage_class(object),
        ("apps", "Deployment") => apps::deployment(object),
        ("apps", "ReplicaSet") => apps::replica_set(object),
        ("apps", "StatefulSet") => apps::stateful_set(object),
        ("apps", "DaemonSet") => apps::daemon_set(object),
        ("autoscaling", "HorizontalPodAutoscaler") => autoscaling::horizontal_pod_autoscaler(object),
        ("batch", "Job") => batch::job(object),
        ("batch", "CronJob") => batch::cron_job(object),
        ("networking.k8s.io", "NetworkPolicy") => batch::network_policy(object),
        ("node.k8s.io", "RuntimeClass") => inside(object, "overhead", |overhead| quantities::canonical(overhead, "podFixed")),
        ("discovery.k8s.io", "EndpointSlice") => each(object, "ports", |port| {
            fill::unset(port, "name", "");
            fill::unset(port, "protocol", "TCP");
        }),
        ("scheduling.k8s.io", "PriorityClass") => fill::unset(object, "preemptionPolicy", "PreemptLowerPriority"),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => role_binding(object),
        _ => {}
    }
    written::always(group, kind, object);
}

fn role_binding(binding: &mut Value) {
    const GROUP: &str = "rbac.authorization.k8s.io";
    inside(binding, "roleRef", |role| blank(role, "apiGroup", GROUP));
    each(binding, "subjects", |subject| {
        if matches!(subject["kind"].as_str(), Some("User" | "Group")) {
            blank(subject, "apiGroup", GROUP);
        }
    });
}

#[cfg(test)]
mod tests;
