//! Linux capabilities that containers add, and drop.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Pod, Violation, pod::name, words};

/// What containers have by default; `NET_RAW`, which they have too, must not be asked for.
const DEFAULT: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Nothing beyond the default may be added.
pub(super) fn baseline(pod: Pod<'_>) -> Option<Violation> {
    let detail = forbidden(pod, &DEFAULT)?;
    Some(Violation { reason: "non-default capabilities", detail })
}

/// All must be dropped, and only one may be added again.
pub(super) fn restricted(pod: Pod<'_>) -> Option<Violation> {
    let keep = pod.names(|container| !listed(container, "drop").any(|capability| capability == "ALL"));
    let keeping =
        (!keep.is_empty()).then(|| format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", words::containers(&keep)));
    let details: Vec<String> = keeping.into_iter().chain(forbidden(pod, &["NET_BIND_SERVICE"])).collect();
    (!details.is_empty()).then(|| Violation { reason: "unrestricted capabilities", detail: details.join("; ") })
}

/// Windows has no capabilities.
pub(super) fn restricted_1_25(pod: Pod<'_>) -> Option<Violation> {
    if pod.is_for_windows() { None } else { restricted(pod) }
}

fn forbidden(pod: Pod<'_>, allowed: &[&str]) -> Option<String> {
    let (mut names, mut all) = (Vec::new(), BTreeSet::new());
    for container in pod.containers() {
        let added: Vec<&str> = listed(container, "add").filter(|capability| !allowed.contains(capability)).collect();
        if !added.is_empty() {
            names.push(name(container));
            all.extend(added);
        }
    }
    let who = words::setters(false, &names)?;
    Some(format!("{who} must not include {} in securityContext.capabilities.add", words::list(all)))
}

fn listed<'a>(container: &'a Value, list: &str) -> impl Iterator<Item = &'a str> {
    container["securityContext"]["capabilities"][list].as_array().into_iter().flatten().filter_map(Value::as_str)
}
