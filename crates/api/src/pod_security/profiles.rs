//! What confines a container from outside: AppArmor, SELinux, seccomp, and the masks over `/proc`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Pod, Violation, pod::seccomp_annotation, words};
use crate::validation::quoted;

const APP_ARMOR_CONTAINER: &str = "container.apparmor.security.beta.kubernetes.io/";
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SE_LINUX_TYPES: [&str; 5] = ["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];

/// The AppArmor profile may only be the runtime's own, or one of the node's.
pub(super) fn app_armor(pod: Pod<'_>) -> Option<Violation> {
    let (own, names, values) = forbidden_types(pod, "appArmorProfile");
    let is_allowed = |value: &str| value.is_empty() || value == "runtime/default" || value.starts_with("localhost/");
    let annotations = pod.annotations().filter(|(key, value)| key.starts_with(APP_ARMOR_CONTAINER) && !is_allowed(value));
    let annotations: BTreeSet<String> = annotations.map(|(key, value)| format!("{key}={}", quoted(value))).collect();
    let said = (!annotations.is_empty()).then(|| words::plural(annotations.len(), "annotation", "annotations").to_owned());
    let who: Vec<String> = words::setters(own, &names).into_iter().chain(said).collect();
    let count = values.len() + annotations.len();
    let values = words::list(values.into_iter().chain(annotations.iter().map(String::as_str)));
    let reason = words::plural(count, "forbidden AppArmor profile", "forbidden AppArmor profiles");
    let detail = format!("{} must not set AppArmor profile type to {values}", who.join(" and "));
    (count > 0).then_some(Violation { reason, detail })
}

/// The masks must stay.
pub(super) fn proc_mount(pod: Pod<'_>) -> Option<Violation> {
    let names = pod.names(|container| proc_of(container) != "Default");
    let values: BTreeSet<&str> = pod.containers().map(proc_of).filter(|value| *value != "Default").collect();
    let detail = format!("{} must not set securityContext.procMount to {}", words::setters(false, &names)?, words::list(values));
    Some(Violation { reason: "procMount", detail })
}

fn proc_of(container: &Value) -> &str {
    container["securityContext"]["procMount"].as_str().unwrap_or("Default")
}

/// A pod with users of its own does no harm without them.
pub(super) fn proc_mount_1_35(pod: Pod<'_>) -> Option<Violation> {
    if pod.has_own_users() { None } else { proc_mount(pod) }
}

/// The SELinux type is one of few, and user and role are the runtime's.
pub(super) fn se_linux(pod: Pod<'_>) -> Option<Violation> {
    se_linux_but_for(pod, &SE_LINUX_TYPES[..4])
}

/// There is a type for containers that make containers.
pub(super) fn se_linux_1_31(pod: Pod<'_>) -> Option<Violation> {
    se_linux_but_for(pod, &SE_LINUX_TYPES)
}

fn se_linux_but_for(pod: Pod<'_>, types: &[&str]) -> Option<Violation> {
    let is_bad = |holder: &Value| {
        !types.contains(&option(holder, "type")) || ["user", "role"].iter().any(|key| !option(holder, key).is_empty())
    };
    let who = words::setters(is_bad(pod.spec), &pod.names(|container| is_bad(container)))?;
    let all = |key: &str| -> BTreeSet<&str> {
        [pod.spec].into_iter().chain(pod.containers()).map(|holder| option(holder, key)).collect()
    };
    let bad: Vec<&str> = all("type").into_iter().filter(|value| !types.contains(value)).collect();
    let mut faults = Vec::new();
    if !bad.is_empty() {
        faults.push(format!("{} {}", words::plural(bad.len(), "type", "types"), words::list(bad)));
    }
    for key in ["user", "role"] {
        if all(key).iter().any(|value| !value.is_empty()) {
            faults.push(format!("{key} may not be set"));
        }
    }
    let detail = format!("{who} set forbidden securityContext.seLinuxOptions: {}", faults.join("; "));
    Some(Violation { reason: "seLinuxOptions", detail })
}

fn option<'a>(holder: &'a Value, key: &str) -> &'a str {
    holder["securityContext"]["seLinuxOptions"][key].as_str().unwrap_or_default()
}

/// Before there was a field, annotations chose the filter.
pub(super) fn seccomp_annotations(pod: Pod<'_>) -> Option<Violation> {
    let is_allowed = |value: &str| value == "runtime/default" || value == "docker/default" || value.starts_with("localhost/");
    let keys = [SECCOMP_POD.to_owned()].into_iter().chain(pod.containers().map(seccomp_annotation));
    let said = keys.filter_map(|key| pod.annotation(&key).map(|value| (key, value)));
    let bad: BTreeSet<String> =
        said.filter(|(_, value)| !is_allowed(value)).map(|(key, value)| format!("{key}={}", quoted(value))).collect();
    let noun = words::plural(bad.len(), "annotation", "annotations");
    let bad: Vec<String> = bad.into_iter().collect();
    (!bad.is_empty()).then(|| Violation { reason: "seccompProfile", detail: format!("forbidden {noun} {}", bad.join(", ")) })
}

/// A filter that is chosen may only be the runtime's own, or one of the node's.
pub(super) fn seccomp(pod: Pod<'_>) -> Option<Violation> {
    let (own, names, values) = forbidden_types(pod, "seccompProfile");
    let who = words::setters(own, &names)?;
    let detail = format!("{who} must not set securityContext.seccompProfile.type to {}", words::list(values));
    Some(Violation { reason: "seccompProfile", detail })
}

/// A filter must be chosen.
pub(super) fn seccomp_required(pod: Pod<'_>) -> Option<Violation> {
    let chooses = |holder: &Value| holder["securityContext"]["seccompProfile"].is_object();
    seccomp(pod).or_else(|| {
        let silent = if chooses(pod.spec) { Vec::new() } else { pod.names(|container| !chooses(container)) };
        let who = words::setters(false, &silent)?;
        let detail = format!("pod or {who} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"");
        Some(Violation { reason: "seccompProfile", detail })
    })
}

/// Windows has no such filters.
pub(super) fn seccomp_required_1_25(pod: Pod<'_>) -> Option<Violation> {
    if pod.is_for_windows() { None } else { seccomp_required(pod) }
}

/// Whether the pod, and which containers, have a profile of a type that may not be, and which types.
fn forbidden_types<'a>(pod: Pod<'a>, profile: &str) -> (bool, Vec<&'a str>, BTreeSet<&'a str>) {
    let kind = |holder: &'a Value| {
        let profile = holder["securityContext"][profile].as_object()?;
        let kind = profile.get("type").and_then(Value::as_str).unwrap_or_default();
        (!["RuntimeDefault", "Localhost"].contains(&kind)).then_some(kind)
    };
    let values = [pod.spec].into_iter().chain(pod.containers()).filter_map(kind).collect();
    (kind(pod.spec).is_some(), pod.names(|container| kind(container).is_some()), values)
}
