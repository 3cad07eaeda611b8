//! The roles that every cluster has, so that manifests which bind them find them. Upstream's `admin`, `edit` and `view` are
//! put together out of many; these say the same in few rules, for the kinds that are served here.

use serde_json::{Value, json};

const RBAC: &str = "rbac.authorization.k8s.io";
const READ: [&str; 3] = ["get", "list", "watch"];
const WRITE: [&str; 5] = ["create", "delete", "deletecollection", "patch", "update"];

/// What a client may read that has to find its way.
const DISCOVERY: [&str; 10] =
    ["/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz", "/version"];
/// What whoever checks a service account's token reads.
const ISSUER_DISCOVERY: [&str; 4] =
    ["/.well-known/openid-configuration", "/.well-known/openid-configuration/", "/openid/v1/jwks", "/openid/v1/jwks/"];
const PUBLIC: [&str; 5] = ["/healthz", "/livez", "/readyz", "/version", "/version/"];

/// Cluster roles and their bindings, as a client would post them.
pub(super) fn objects() -> Vec<Value> {
    let all = json!({ "apiGroups": ["*"], "resources": ["*"], "verbs": ["*"] });
    let all_paths = json!({ "nonResourceURLs": ["*"], "verbs": ["*"] });
    let paths = |paths: &[&str]| json!({ "nonResourceURLs": paths, "verbs": ["get"] });
    let roles = [
        role("cluster-admin", &[all, all_paths]),
        role("admin", &[limits(), workloads(&READ), workloads(&WRITE), secrets(), roles(), evictions()]),
        role("edit", &[limits(), workloads(&READ), workloads(&WRITE), secrets(), evictions()]),
        role("view", &[limits(), workloads(&READ)]),
        role("system:discovery", &[paths(&DISCOVERY)]),
        role("system:public-info-viewer", &[paths(&PUBLIC)]),
        role("system:service-account-issuer-discovery", &[paths(&ISSUER_DISCOVERY)]),
        role(
            "system:basic-user",
            &[
                reviews("authorization.k8s.io", &["selfsubjectaccessreviews", "selfsubjectrulesreviews"]),
                reviews("authentication.k8s.io", &["selfsubjectreviews"]),
            ],
        ),
    ];
    let bindings = [
        binding("cluster-admin", &["system:masters"]),
        binding("system:discovery", &["system:authenticated"]),
        binding("system:basic-user", &["system:authenticated"]),
        binding("system:public-info-viewer", &["system:authenticated", "system:unauthenticated"]),
        binding("system:service-account-issuer-discovery", &["system:serviceaccounts"]),
        binding("system:monitoring", &["system:monitoring"]),
    ];
    roles.into_iter().chain(helpers()).chain(bindings).collect()
}

/// Roles that manifests of monitors, volume plugins and the like bind.
fn helpers() -> Vec<Value> {
    let watched = ["/healthz", "/healthz/*", "/livez", "/livez/*", "/metrics", "/readyz", "/readyz/*"];
    let rule =
        |group: &str, resources: &[&str], verbs: &[&str]| json!({ "apiGroups": [group], "resources": resources, "verbs": verbs });
    let events = rule("", &["events"], &["create", "get", "list", "patch", "update", "watch"]);
    vec![
        role(
            "system:auth-delegator",
            &[reviews("authentication.k8s.io", &["tokenreviews"]), reviews("authorization.k8s.io", &["subjectaccessreviews"])],
        ),
        role("system:monitoring", &[json!({ "nonResourceURLs": watched, "verbs": ["get"] })]),
        role(
            "system:kubelet-api-admin",
            &[
                rule("", &["nodes"], &["get", "list", "proxy", "watch"]),
                rule("", &["nodes/log", "nodes/metrics", "nodes/proxy", "nodes/stats"], &["*"]),
            ],
        ),
        role(
            "system:node-problem-detector",
            &[rule("", &["nodes"], &["get"]), rule("", &["nodes/status"], &["patch"]), events.clone()],
        ),
        role(
            "system:persistent-volume-provisioner",
            &[
                rule("", &["persistentvolumes"], &["create", "delete", "get", "list", "watch"]),
                rule("", &["persistentvolumeclaims"], &["get", "list", "update", "watch"]),
                rule("storage.k8s.io", &["storageclasses"], &READ),
                events,
            ],
        ),
    ]
}

fn reviews(group: &str, resources: &[&str]) -> Value {
    json!({ "apiGroups": [group], "resources": resources, "verbs": ["create"] })
}

/// What people run, but for what is secret.
fn workloads(verbs: &[&str]) -> Value {
    json!({
        "apiGroups": ["", "apps", "autoscaling", "batch", "discovery.k8s.io", "events.k8s.io", "networking.k8s.io", "policy"],
        "resources": [
            "bindings", "configmaps", "controllerrevisions", "cronjobs", "daemonsets", "daemonsets/status", "deployments",
            "deployments/scale", "deployments/status", "endpoints", "endpointslices", "events", "horizontalpodautoscalers",
            "ingresses", "jobs", "jobs/status", "networkpolicies", "persistentvolumeclaims",
            "persistentvolumeclaims/status", "poddisruptionbudgets", "poddisruptionbudgets/status", "pods", "pods/log",
            "pods/status", "podtemplates", "replicasets", "replicasets/scale", "replicasets/status", "replicationcontrollers",
            "replicationcontrollers/scale", "replicationcontrollers/status", "serviceaccounts", "services", "services/status", "statefulsets", "statefulsets/scale", "statefulsets/status",
        ],
        "verbs": verbs,
    })
}

/// What whoever runs the cluster sets for those who use it.
fn limits() -> Value {
    let resources = ["limitranges", "namespaces", "namespaces/status", "resourcequotas", "resourcequotas/status"];
    json!({ "apiGroups": [""], "resources": resources, "verbs": READ })
}

fn secrets() -> Value {
    json!({
        "apiGroups": [""],
        "resources": ["pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "secrets", "serviceaccounts/token"],
        "verbs": ["*"],
    })
}

fn evictions() -> Value {
    json!({ "apiGroups": [""], "resources": ["pods/eviction"], "verbs": ["create"] })
}

fn roles() -> Value {
    json!({ "apiGroups": [RBAC], "resources": ["rolebindings", "roles"], "verbs": READ.iter().chain(&WRITE).collect::<Vec<_>>() })
}

fn metadata(name: &str) -> Value {
    json!({ "name": name, "labels": { "kubernetes.io/bootstrapping": "rbac-defaults" } })
}

fn role(name: &str, rules: &[Value]) -> Value {
    json!({ "apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRole", "metadata": metadata(name), "rules": rules })
}

fn binding(role: &str, groups: &[&str]) -> Value {
    let subjects = groups.iter().map(|group| json!({ "apiGroup": RBAC, "kind": "Group", "name": group }));
    json!({
        "apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRoleBinding", "metadata": metadata(role),
        "roleRef": { "apiGroup": RBAC, "kind": "ClusterRole", "name": role }, "subjects": subjects.collect::<Vec<_>>(),
    })
}
