//! As whom containers run, and whether they may become somebody else.

use serde_json::Value;

use super::{Pod, Violation, words};

/// No process may get more privileges than the one that started it.
pub(super) fn escalation(pod: Pod<'_>) -> Option<Violation> {
    let names = pod.names(|container| container["securityContext"]["allowPrivilegeEscalation"] != false);
    let detail = format!("{} must set securityContext.allowPrivilegeEscalation=false", words::setters(false, &names)?);
    Some(Violation { reason: "allowPrivilegeEscalation != false", detail })
}

/// Windows knows no such field.
pub(super) fn escalation_1_25(pod: Pod<'_>) -> Option<Violation> {
    if pod.is_for_windows() { None } else { escalation(pod) }
}

/// Every container must be said not to run as root, by itself or by the pod.
pub(super) fn non_root(pod: Pod<'_>) -> Option<Violation> {
    let says = |holder: &Value| holder["securityContext"]["runAsNonRoot"].as_bool();
    let deny = words::setters(says(pod.spec) == Some(false), &pod.names(|container| says(container) == Some(false)));
    let detail = match deny {
        Some(who) => format!("{who} must not set securityContext.runAsNonRoot=false"),
        None if says(pod.spec) == Some(true) => return None,
        None => {
            let silent = words::setters(false, &pod.names(|container| says(container).is_none()))?;
            format!("pod or {silent} must set securityContext.runAsNonRoot=true")
        }
    };
    Some(Violation { reason: "runAsNonRoot != true", detail })
}

/// Root of a pod with users of its own is nobody outside.
pub(super) fn non_root_1_35(pod: Pod<'_>) -> Option<Violation> {
    if pod.has_own_users() { None } else { non_root(pod) }
}

/// Nobody may ask for root.
pub(super) fn root_user(pod: Pod<'_>) -> Option<Violation> {
    let is_root = |holder: &Value| holder["securityContext"]["runAsUser"] == 0;
    let who = words::setters(is_root(pod.spec), &pod.names(|container| is_root(container)))?;
    Some(Violation { reason: "runAsUser=0", detail: format!("{who} must not set runAsUser=0") })
}

/// Root of a pod with users of its own is nobody outside.
pub(super) fn root_user_1_35(pod: Pod<'_>) -> Option<Violation> {
    if pod.has_own_users() { None } else { root_user(pod) }
}
