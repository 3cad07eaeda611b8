//! Objects that every cluster has from its first moment, as a client would post them.

use serde_json::{Value, json};

use crate::names::LOCAL_DIRECTORY;

/// Namespaces that are there from the start.
pub const NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];

/// Namespaces, priority classes and the default storage class, in the order in which they are to be made. Those that exist are left as they are.
pub fn objects() -> Vec<Value> {
    let namespaces =
        NAMESPACES.iter().map(|name| json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } }));
    let classes = [
        ("system-cluster-critical", 2_000_000_000, "For pods that the cluster cannot do without, on whatever node."),
        ("system-node-critical", 2_000_001_000, "For pods that their node cannot do without."),
    ];
    let classes = classes.iter().map(|(name, value, description)| {
        json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": { "name": name },
            "value": value, "description": description,
        })
    });
    let storage = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": { "name": "standard", "annotations": { "storageclass.kubernetes.io/is-default-class": "true" } },
        "provisioner": LOCAL_DIRECTORY, "reclaimPolicy": "Delete", "volumeBindingMode": "WaitForFirstConsumer",
    });
    namespaces.chain(classes).chain([storage]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind;

    #[test]
    fn all_are_of_kinds_that_are_served() {
        for object in objects() {
            let text = |key: &str| object[key].as_str().unwrap();
            assert!(kind::find_object(text("apiVersion"), text("kind")).is_some(), "{object}");
        }
    }
}
