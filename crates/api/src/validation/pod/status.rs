//! What a kubelet may write into a pod's status.

use serde_json::{Value, json};

use super::super::errors::Errors;
use super::super::field::Field;
use super::super::{address, format};
use super::container::is_sidecar;
use super::update::annotation_updates;

pub(in crate::validation) fn status(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    annotation_updates(new, old, errors);
    let (new_spec, old_spec, new_status, old_status) = (new.get("spec"), old.get("spec"), new.get("status"), old.get("status"));
    conditions(&new_status.get("conditions"), errors);
    if new_spec.get("nodeName").text() != old_spec.get("nodeName").text() {
        errors.forbidden(&new_status.get("nodeName"), "may not be changed directly");
    }
    let nominated = new_status.get("nominatedNodeName");
    if nominated.text() != old_status.get("nominatedNodeName").text() {
        errors.optional_format(&nominated, format::dns1123_subdomain);
    }
    errors.immutable_text(&new_status.get("qosClass"), &old_status.get("qosClass"));
    for field in ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"] {
        stay_terminated(field, &new_status, &old_status, &old_spec, errors);
    }
    addresses(&new_status, errors);
}

/// Upstream reports the conditions of a status under its metadata.
fn conditions(conditions: &Field<'_>, errors: &mut Errors) {
    for (index, condition) in conditions.items().enumerate() {
        let kind = condition.get("type").named(format!("metadata.conditions[{index}].Type"));
        if !matches!(kind.text(), "PodScheduled" | "Ready" | "Initialized") {
            errors.format(&kind, format::qualified_name);
        }
    }
}

/// A container that ended, and is not to be restarted, stays ended.
fn stay_terminated(field: &str, new: &Field<'_>, old: &Field<'_>, spec: &Field<'_>, errors: &mut Errors) {
    let policy = if field == "ephemeralContainerStatuses" { "Never" } else { spec.get("restartPolicy").text() };
    if policy == "Always" {
        return;
    }
    let restarts = |name: &str| {
        let containers = [spec.get("containers"), spec.get("initContainers")];
        let mut all = containers.iter().flat_map(|list| list.items().collect::<Vec<_>>());
        all.any(|container| container.get("name").text() == name && (is_sidecar(&container) || container.has("restartPolicy")))
    };
    for (index, before) in old.get(field).items().enumerate() {
        let (name, terminated) = (before.get("name").text(), before.get("state").get("terminated"));
        let retried = terminated.get("exitCode").number() != 0 && policy == "OnFailure";
        if !terminated.is_set() || retried || restarts(name) {
            continue;
        }
        let resumed = |status: &Field<'_>| status.get("name").text() == name && !status.get("state").get("terminated").is_set();
        if new.get(field).items().any(|status| resumed(&status)) {
            let state = before.get("state").named(format!("{}[{index}].state", new.child(field)));
            errors.forbidden(&state, "may not be transitioned to non-terminated state");
        }
    }
}

fn addresses(status: &Field<'_>, errors: &mut Errors) {
    let host_ips = status.get("hostIPs");
    if let Some(first) = host_ips.items().next()
        && first.get("ip").text() != status.get("hostIP").text()
    {
        errors.invalid(&first.get("ip"), "must be equal to `hostIP`");
    }
    for list in [status.get("podIPs"), host_ips] {
        for item in list.items() {
            address::valid_ip(&item.get("ip").named(item.path()), errors);
        }
        if list.len() < 2 {
            continue;
        }
        let ips: Vec<&str> = list.items().map(|item| item.get("ip").text()).collect();
        if !address::is_dual_stack(ips.iter().copied()) || ips.len() > 2 {
            let shown: Vec<Value> = ips.iter().map(|ip| json!({ "IP": ip })).collect();
            errors.invalid_as(list.path(), shown, "may specify no more than one IP for each IP family");
        }
    }
}
