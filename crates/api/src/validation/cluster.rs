//! Rules of Namespace, Node, and the small kinds around pods: Lease, Scale, Binding, PriorityClass.

use std::collections::BTreeSet;

use serde_json::json;

use super::errors::Errors;
use super::field::Field;
use super::pod::{resources, taint_effect};
use super::{address, format, metadata};

/// Above it begin the priorities of system pods.
const USER_PRIORITY_MAX: i64 = 1_000_000_000;
const POD_CIDR_FIXED: &str = "node updates may not change podCIDR except from \"\" to valid";

pub(super) fn namespace(namespace: &Field<'_>, errors: &mut Errors) {
    let finalizers = namespace.get("spec").get("finalizers");
    for finalizer in finalizers.items() {
        let finalizer = finalizer.named(finalizers.path());
        errors.format(&finalizer, format::qualified_name);
        metadata::standard_finalizer(&finalizer, errors);
    }
}

pub(super) fn namespace_status(new: &Field<'_>, errors: &mut Errors) {
    let phase = new.get("status").get("phase").named("status.Phase");
    let (expected, when) =
        if new.get("metadata").has("deletionTimestamp") { ("Terminating", "not empty") } else { ("Active", "empty") };
    if phase.text() != expected {
        let wrong = format!("may only be '{expected}' if `deletionTimestamp` is {when}");
        errors.invalid_as(phase.path(), phase.text(), wrong);
    }
}

pub(super) fn node(node: &Field<'_>, errors: &mut Errors) {
    let spec = node.get("spec");
    taints(&spec.get("taints"), errors);
    node_resources(node, errors);
    let ranges = spec.get("podCIDRs");
    for range in ranges.items() {
        address::valid_cidr(&range, range.text(), errors);
    }
    if ranges.len() > 1 {
        let texts: Vec<&str> = ranges.items().map(|range| range.text()).collect();
        if ranges.len() > 2 || !address::is_dual_stack(texts) {
            errors.invalid(&ranges, "may specify no more than one CIDR for each IP family");
        }
        let mut seen = BTreeSet::new();
        for range in ranges.items() {
            if !seen.insert(range.text()) {
                errors.duplicate(&range);
            }
        }
    }
}

pub(super) fn node_update(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    let (spec, before) = (new.get("spec"), old.get("spec"));
    node_resources(new, errors);
    let mut seen = Vec::new();
    for address in new.get("status").get("addresses").items() {
        if seen.contains(&address.value()) {
            errors.duplicate(&address);
        }
        seen.push(address.value());
    }
    let (ranges, ranges_before) = (spec.get("podCIDRs"), before.get("podCIDRs"));
    if !ranges_before.is_empty() {
        if ranges.len() == ranges_before.len() {
            for _ in ranges.items().zip(ranges_before.items()).filter(|(range, before)| range.text() != before.text()) {
                errors.forbidden(&ranges, POD_CIDR_FIXED);
            }
        } else {
            errors.forbidden(&ranges, POD_CIDR_FIXED);
        }
    }
    let (provider, provider_before) = (spec.get("providerID"), before.get("providerID").text());
    if !provider_before.is_empty() && provider.text() != provider_before {
        errors.forbidden(&provider, "node updates may not change providerID except from \"\" to valid");
    }
    taints(&spec.get("taints"), errors);
    if spec.get("externalID").text() != before.get("externalID").text() {
        errors.forbidden(&spec.get("externalID"), "may not be updated");
    }
}

/// Upstream reports the taints of a node under its metadata.
fn taints(taints: &Field<'_>, errors: &mut Errors) {
    let taints = taints.named("metadata.taints");
    let mut seen = BTreeSet::new();
    for taint in taints.items() {
        let (key, value, effect) = (taint.get("key"), taint.get("value"), taint.get("effect"));
        metadata::label_key(&key, key.text(), errors);
        let wrong = format::label_value(value.text());
        if !wrong.is_empty() {
            errors.invalid(&value, wrong.join(";"));
        }
        taint_effect(&effect, errors);
        if !seen.insert((effect.text(), key.text())) {
            let shown = json!({
                "Key": key.text(), "Value": value.text(), "Effect": effect.text(), "TimeAdded": taint.get("timeAdded").value(),
            });
            errors.duplicate_as(taint.path(), shown, "taints must be unique by key and effect pair");
        }
    }
}

fn node_resources(node: &Field<'_>, errors: &mut Errors) {
    for list in ["capacity", "allocatable"] {
        let list = node.get("status").get(list);
        for (name, amount) in list.entries() {
            resources::value(name, &amount.named(list.child(name)), errors);
        }
    }
}

pub(super) fn lease(lease: &Field<'_>, errors: &mut Errors) {
    let spec = lease.get("spec");
    let (duration, strategy, preferred) = (spec.get("leaseDurationSeconds"), spec.get("strategy"), spec.get("preferredHolder"));
    if duration.int().is_some_and(|seconds| seconds <= 0) {
        errors.invalid(&duration, "must be greater than 0");
    }
    errors.non_negative(&spec.get("leaseTransitions"));
    if strategy.is_set() {
        let reported = strategy.named(strategy.child("strategy"));
        if strategy.text().contains('/') {
            errors.format(&reported, format::qualified_name);
        } else {
            errors.one_of(&reported, &["OldestEmulationVersion"]);
        }
    }
    if !preferred.text().is_empty() && strategy.text().is_empty() {
        errors.forbidden(&preferred, "may only be specified if `strategy` is defined");
    }
}

pub(super) fn scale(scale: &Field<'_>, errors: &mut Errors) {
    errors.non_negative(&scale.get("spec").get("replicas"));
}

pub(super) fn binding(binding: &Field<'_>, errors: &mut Errors) {
    let target = binding.get("target");
    if !matches!(target.get("kind").text(), "" | "Node") {
        errors.unsupported(&target.get("kind"), &["Node", "<empty>"]);
    }
    errors.required_text(&target.get("name"));
}

pub(super) fn priority_class(class: &Field<'_>, errors: &mut Errors) {
    let (name, value) = (class.get("metadata").get("name"), class.get("value"));
    if name.text().starts_with("system-") {
        let known = [("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];
        let wrong = match known.iter().find(|(known, _)| *known == name.text()) {
            None => Some(format!("{} is not a known system priority class", name.text())),
            Some((_, known)) if value.number() != *known => {
                Some(format!("value of {} PriorityClass must be {known}", name.text()))
            }
            Some(_) if class.get("globalDefault").is_true() => {
                Some(format!("globalDefault of {} PriorityClass must be false", name.text()))
            }
            Some(_) => None,
        };
        if let Some(wrong) = wrong {
            let reserved = "priority class names with 'system-' prefix are reserved for system use only. error: ";
            errors.forbidden(&name, format!("{reserved}{wrong}"));
        }
    } else if value.number() > USER_PRIORITY_MAX {
        errors.forbidden(&value, format!("maximum allowed value of a user defined priority is {USER_PRIORITY_MAX}"));
    }
    if class.has("preemptionPolicy") {
        errors.required_one_of(&class.get("preemptionPolicy"), &["PreemptLowerPriority", "Never"]);
    }
}

pub(super) fn priority_class_update(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    if new.get("value").number() != old.get("value").number() {
        errors.forbidden(&new.get("value"), "may not be changed in an update.");
    }
    errors.immutable(&new.get("preemptionPolicy"), &old.get("preemptionPolicy"));
}
