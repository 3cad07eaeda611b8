//! Kinds of the core group.

use serde_json::{Value, json};

use super::{ALL_VERBS, BASE, Generation, Kind, SelectableField, Subresource, label_keys, prepare, service};
use crate::{columns, pod};

const fn at(name: &'static str, pointers: &'static [&'static str]) -> SelectableField {
    SelectableField { name, pointers, default: "" }
}

/// v1 ComponentStatus; nothing is stored, the server looks when it is asked.
pub const COMPONENT_STATUS: Kind = Kind {
    kind: "ComponentStatus",
    plural: "componentstatuses",
    singular: "componentstatus",
    short_names: &["cs"],
    verbs: &["get", "list"],
    namespaced: false,
    deprecation: Some("v1 ComponentStatus is deprecated in v1.19+"),
    columns: columns::config::COMPONENT_STATUS,
    row: columns::config::component_status,
    ..BASE
};

/// v1 ConfigMap.
pub const CONFIG_MAP: Kind = Kind {
    kind: "ConfigMap",
    plural: "configmaps",
    singular: "configmap",
    short_names: &["cm"],
    columns: columns::config::CONFIG_MAP,
    row: columns::config::config_map,
    ..BASE
};

/// v1 Endpoints.
pub const ENDPOINTS: Kind = Kind {
    kind: "Endpoints",
    plural: "endpoints",
    singular: "endpoints",
    short_names: &["ep"],
    columns: columns::service::ENDPOINTS,
    row: columns::service::endpoints,
    deprecation: Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"),
    creates_on_update: true,
    ..BASE
};

/// v1 Event; events.k8s.io/v1 Event is another view of the same objects.
pub const EVENT: Kind = Kind {
    kind: "Event",
    plural: "events",
    singular: "event",
    short_names: &["ev"],
    selectable: &[
        at("involvedObject.kind", &["/involvedObject/kind"]),
        at("involvedObject.namespace", &["/involvedObject/namespace"]),
        at("involvedObject.name", &["/involvedObject/name"]),
        at("involvedObject.uid", &["/involvedObject/uid"]),
        at("involvedObject.apiVersion", &["/involvedObject/apiVersion"]),
        at("involvedObject.resourceVersion", &["/involvedObject/resourceVersion"]),
        at("involvedObject.fieldPath", &["/involvedObject/fieldPath"]),
        at("reason", &["/reason"]),
        at("reportingComponent", &["/reportingComponent"]),
        at("source", &["/source/component", "/reportingComponent"]),
        at("type", &["/type"]),
    ],
    columns: columns::event::COLUMNS,
    row: columns::event::row,
    creates_on_update: true,
    ..BASE
};

/// v1 LimitRange.
pub const LIMIT_RANGE: Kind = Kind {
    kind: "LimitRange",
    plural: "limitranges",
    singular: "limitrange",
    short_names: &["limits"],
    creates_on_update: true,
    ..BASE
};

/// v1 Namespace.
pub const NAMESPACE: Kind = Kind {
    kind: "Namespace",
    plural: "namespaces",
    singular: "namespace",
    short_names: &["ns"],
    verbs: &["create", "delete", "get", "list", "patch", "update", "watch"],
    namespaced: false,
    subresources: &[Subresource::Finalize, Subresource::Status],
    selectable: &[at("status.phase", &["/status/phase"])],
    initial: new_namespace,
    keep: keep_namespace,
    columns: columns::config::NAMESPACE,
    row: columns::config::namespace,
    ..BASE
};

/// v1 Node.
pub const NODE: Kind = Kind {
    kind: "Node",
    plural: "nodes",
    singular: "node",
    short_names: &["no"],
    namespaced: false,
    subresources: &[Subresource::Proxy("NodeProxyOptions"), Subresource::Status],
    selectable: &[SelectableField { name: "spec.unschedulable", pointers: &["/spec/unschedulable"], default: "false" }],
    // A kubelet registers its node with the status it found, in one write: `initial` leaves it alone.
    columns: columns::node::COLUMNS,
    row: columns::node::row,
    ..BASE
};

/// v1 PersistentVolumeClaim.
pub const PERSISTENT_VOLUME_CLAIM: Kind = Kind {
    kind: "PersistentVolumeClaim",
    plural: "persistentvolumeclaims",
    singular: "persistentvolumeclaim",
    short_names: &["pvc"],
    subresources: &[Subresource::Status],
    initial: prepare::empty_status,
    columns: columns::storage::PERSISTENT_VOLUME_CLAIM,
    row: columns::storage::persistent_volume_claim,
    ..BASE
};

/// v1 PersistentVolume.
pub const PERSISTENT_VOLUME: Kind = Kind {
    kind: "PersistentVolume",
    plural: "persistentvolumes",
    singular: "persistentvolume",
    short_names: &["pv"],
    namespaced: false,
    subresources: &[Subresource::Status],
    initial: prepare::empty_status,
    columns: columns::storage::PERSISTENT_VOLUME,
    row: columns::storage::persistent_volume,
    ..BASE
};

/// v1 Pod.
pub const POD: Kind = Kind {
    kind: "Pod",
    plural: "pods",
    singular: "pod",
    short_names: &["po"],
    categories: &["all"],
    subresources: &[
        Subresource::Attach,
        Subresource::Binding,
        Subresource::EphemeralContainers,
        Subresource::Eviction,
        Subresource::Exec,
        Subresource::Log,
        Subresource::PortForward,
        Subresource::Proxy("PodProxyOptions"),
        Subresource::Resize,
        Subresource::Status,
    ],
    generation: Generation::Spec,
    selectable: &[
        at("spec.nodeName", &["/spec/nodeName"]),
        at("spec.restartPolicy", &["/spec/restartPolicy"]),
        at("spec.schedulerName", &["/spec/schedulerName"]),
        at("spec.serviceAccountName", &["/spec/serviceAccountName"]),
        SelectableField { name: "spec.hostNetwork", pointers: &["/spec/hostNetwork"], default: "false" },
        at("status.phase", &["/status/phase"]),
        at("status.podIP", &["/status/podIPs/0/ip", "/status/podIP"]),
        at("status.podIPs", &["/status/podIPs/0/ip", "/status/podIP"]),
        at("status.nominatedNodeName", &["/status/nominatedNodeName"]),
    ],
    initial: new_pod,
    keep_status: keep_owners_and_qos_class,
    columns: columns::pod::COLUMNS,
    row: columns::pod::row,
    ..BASE
};

/// v1 PodTemplate.
pub const POD_TEMPLATE: Kind = Kind {
    kind: "PodTemplate",
    plural: "podtemplates",
    singular: "podtemplate",
    generation: Generation::Spec,
    columns: columns::workload::POD_TEMPLATE,
    row: columns::workload::pod_template,
    ..BASE
};

/// v1 ReplicationController.
pub const REPLICATION_CONTROLLER: Kind = Kind {
    kind: "ReplicationController",
    plural: "replicationcontrollers",
    singular: "replicationcontroller",
    short_names: &["rc"],
    categories: &["all"],
    subresources: &[Subresource::Scale, Subresource::Status],
    generation: Generation::Spec,
    selectable: &[SelectableField { name: "status.replicas", pointers: &["/status/replicas"], default: "0" }],
    initial: prepare::empty_status,
    columns: columns::workload::REPLICA_SET,
    row: columns::workload::replication_controller,
    ..BASE
};

/// v1 ResourceQuota.
pub const RESOURCE_QUOTA: Kind = Kind {
    kind: "ResourceQuota",
    plural: "resourcequotas",
    singular: "resourcequota",
    short_names: &["quota"],
    subresources: &[Subresource::Status],
    initial: prepare::empty_status,
    columns: columns::config::RESOURCE_QUOTA,
    row: columns::config::resource_quota,
    ..BASE
};

/// v1 Secret.
pub const SECRET: Kind = Kind {
    kind: "Secret",
    plural: "secrets",
    singular: "secret",
    selectable: &[at("type", &["/type"])],
    columns: columns::config::SECRET,
    row: columns::config::secret,
    ..BASE
};

/// v1 ServiceAccount.
pub const SERVICE_ACCOUNT: Kind = Kind {
    kind: "ServiceAccount",
    plural: "serviceaccounts",
    singular: "serviceaccount",
    short_names: &["sa"],
    subresources: &[Subresource::Token],
    columns: columns::config::SERVICE_ACCOUNT,
    row: columns::config::service_account,
    ..BASE
};

/// v1 Service.
pub const SERVICE: Kind = Kind {
    kind: "Service",
    plural: "services",
    singular: "service",
    short_names: &["svc"],
    categories: &["all"],
    verbs: ALL_VERBS,
    subresources: &[Subresource::Proxy("ServiceProxyOptions"), Subresource::Status],
    selectable: &[at("spec.clusterIP", &["/spec/clusterIP"]), at("spec.type", &["/spec/type"])],
    initial: prepare::empty_status,
    keep: service::settle,
    columns: columns::service::SERVICE,
    row: columns::service::service,
    creates_on_update: true,
    ..BASE
};

fn new_pod(object: &mut Value) {
    let mut status = json!({ "phase": "Pending", "qosClass": pod::qos_class(object) });
    if object["spec"]["schedulingGates"].as_array().is_some_and(|gates| !gates.is_empty()) {
        status["conditions"] = json!([{
            "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates",
        }]);
    }
    prepare::set(object, "status", status);
    label_keys::merge(object);
}

/// The class was settled when the pod was made; a kubelet that leaves it out does not mean to change it.
fn keep_owners_and_qos_class(new: &mut Value, old: &Value) {
    prepare::carry_over_metadata(new, old, "ownerReferences");
    if let Some(status) = prepare::inside(new, "status")
        && status.get("qosClass").is_none_or(|class| class.as_str().is_none_or(str::is_empty))
        && let Some(class) = old["status"].get("qosClass")
    {
        status.insert("qosClass".to_owned(), class.clone());
    }
}

/// A namespace lives until its controller has emptied it and taken this finalizer away.
fn new_namespace(object: &mut Value) {
    const KUBERNETES: &str = "kubernetes";
    prepare::empty_status(object);
    let Some(spec) = prepare::inside(object, "spec") else { return };
    let finalizers = spec.entry("finalizers").or_insert_with(|| json!([]));
    if let Some(finalizers) = finalizers.as_array_mut()
        && !finalizers.iter().any(|finalizer| finalizer == KUBERNETES)
    {
        finalizers.push(KUBERNETES.into());
    }
}

/// Finalizers go through `/finalize` alone.
fn keep_namespace(new: &mut Value, old: &Value) {
    prepare::carry_over(new, old, "spec");
}
