//! The parts of a pod that the checks look at, and where else than in a pod they are found.

use serde_json::Value;

/// Containers in the order in which upstream looks at them.
const CONTAINERS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";

/// A pod, or the template of one, after defaulting.
#[derive(Debug, Clone, Copy)]
pub struct Pod<'a> {
    /// Its `metadata`.
    pub metadata: &'a Value,
    /// Its `spec`.
    pub spec: &'a Value,
}

impl<'a> Pod<'a> {
    /// A pod, or an object of its shape.
    pub fn of(object: &'a Value) -> Self {
        Self { metadata: &object["metadata"], spec: &object["spec"] }
    }

    /// Its containers of all sorts.
    pub(super) fn containers(self) -> impl Iterator<Item = &'a Value> {
        CONTAINERS.into_iter().flat_map(move |field| list(self, field))
    }

    /// The names of the containers that are so.
    pub(super) fn names(self, is_so: impl FnMut(&&'a Value) -> bool) -> Vec<&'a str> {
        self.containers().filter(is_so).map(name).collect()
    }

    /// The text of an annotation.
    pub(super) fn annotation(self, key: &str) -> Option<&'a str> {
        self.metadata["annotations"][key].as_str()
    }

    /// Its annotations.
    pub(super) fn annotations(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let annotations = self.metadata["annotations"].as_object().into_iter().flatten();
        annotations.map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default()))
    }

    /// Whether it says that it is for Windows.
    pub(super) fn is_for_windows(self) -> bool {
        self.spec["os"]["name"] == "windows"
    }

    /// Whether it has a user namespace of its own.
    pub(super) fn has_own_users(self) -> bool {
        self.spec["hostUsers"] == false
    }
}

/// The name of a container or volume.
pub(super) fn name(item: &Value) -> &str {
    item["name"].as_str().unwrap_or_default()
}

/// The annotation that said how a container's system calls are filtered, before there was a field.
pub(super) fn seccomp_annotation(container: &Value) -> String {
    format!("{SECCOMP_CONTAINER}{}", name(container))
}

/// The template of the pods that an object of this kind makes; `None` for other kinds, and where it has none.
pub fn template<'a>(group: &str, plural: &str, object: &'a Value) -> Option<Pod<'a>> {
    let template = match (group, plural) {
        ("", "podtemplates") => &object["template"],
        ("", "replicationcontrollers")
        | ("apps", "replicasets" | "deployments" | "statefulsets" | "daemonsets")
        | ("batch", "jobs") => &object["spec"]["template"],
        ("batch", "cronjobs") => &object["spec"]["jobTemplate"]["spec"]["template"],
        _ => return None,
    };
    template.is_object().then(|| Pod::of(template))
}

/// Whether a change of a pod, from `old` to `new`, is looked at: other containers, or other images. What else may change of a
/// pod makes it no less secure.
pub fn changes_what_counts(new: Pod<'_>, old: Pod<'_>) -> bool {
    let differs = |container: &Value, before: &Value| {
        let key = seccomp_annotation(container);
        let said = |pod: Pod<'_>| pod.annotation(&key).unwrap_or_default().to_owned();
        container["image"] != before["image"] || said(new) != said(old)
    };
    let fixed = ["containers", "initContainers"].into_iter().any(|field| {
        let (new, old) = (list(new, field), list(old, field));
        new.len() != old.len() || new.iter().zip(old).any(|(container, before)| differs(container, before))
    });
    let ephemeral = "ephemeralContainers";
    fixed
        || list(new, ephemeral).iter().any(|container| {
            let before = list(old, ephemeral).iter().find(|before| before["name"] == container["name"]);
            before.is_none_or(|before| differs(container, before))
        })
}

fn list<'a>(pod: Pod<'a>, field: &str) -> &'a [Value] {
    pod.spec[field].as_array().map_or(&[], Vec::as_slice)
}
