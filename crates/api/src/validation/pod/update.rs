//! What may change in a pod that exists: images, deadlines, tolerations, gates; everything else is refused.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::equal::same;
use super::super::errors::Errors;
use super::super::field::Field;
use super::{MIRROR, pod_only, scheduling};

const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
const ALLOWED: &str = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

pub(in crate::validation) fn update(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    pod_only(new, errors);
    annotation_updates(new, old, errors);
    let (new, old) = (new.get("spec"), old.get("spec"));
    for field in ["containers", "initContainers"] {
        if !containers(&new.get(field), &old.get(field), errors) {
            return;
        }
    }
    if !active_deadline(&new, &old, errors) {
        return;
    }
    only_added_tolerations(&new.get("tolerations"), &old.get("tolerations"), errors);
    only_deleted_gates(&new.get("schedulingGates"), &old.get("schedulingGates"), errors);
    if same(new.value(), old.value()) {
        return;
    }
    let munged = munged(new.value(), old.value(), &new, errors);
    if !same(&munged, old.value()) {
        let changed = changes(&munged, old.value());
        errors.forbidden(&new, format!("pod updates may not change fields other than {ALLOWED}\n{changed}"));
    }
}

/// Annotations that the kubelet acts on only when it starts the pod.
pub(super) fn annotation_updates(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    let [new, old] = [new, old].map(|pod| pod.get("metadata").get("annotations"));
    let refuse = |key: &str, verb: &str, errors: &mut Errors| {
        if key.starts_with(APP_ARMOR) {
            errors.forbidden(&new.key(key), format!("may not {verb} AppArmor annotations"));
        }
        if key == MIRROR {
            errors.forbidden(&new.key(key), format!("may not {verb} mirror pod annotation"));
        }
    };
    for (key, value) in old.entries() {
        if new.key(key).value() != value.value() {
            refuse(key, "remove or update", errors);
        }
    }
    for (key, _) in new.entries().filter(|(key, _)| !old.has(key)) {
        refuse(key, "add", errors);
    }
}

/// Returns whether it makes sense to look further.
fn containers(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) -> bool {
    if new.len() != old.len() {
        errors.forbidden(new, "pod updates may not add or remove containers");
        return false;
    }
    for container in new.items() {
        errors.required_text(&container.get("image"));
        super::container::image_without_spaces(&container.get("image"), errors);
    }
    true
}

/// A deadline may be set, or moved nearer.
fn active_deadline(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) -> bool {
    const FIELD: &str = "activeDeadlineSeconds";
    let (deadline, before) = (new.get(FIELD), old.get(FIELD).int());
    match (deadline.int(), before) {
        (Some(seconds), _) if !(0..=i64::from(i32::MAX)).contains(&seconds) => {
            errors.in_range(&deadline, 0, i64::from(i32::MAX));
            false
        }
        (Some(seconds), Some(before)) if before < seconds => {
            errors.invalid(&deadline, "must be less than or equal to previous value");
            false
        }
        (None, Some(_)) => {
            errors.invalid_as(deadline.path(), "null", "must not update from a positive integer to nil value");
            true
        }
        _ => true,
    }
}

fn only_added_tolerations(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    let without_seconds = |toleration: Field<'_>| {
        let mut toleration = toleration.value().clone();
        if let Some(map) = toleration.as_object_mut() {
            map.remove("tolerationSeconds");
        }
        toleration
    };
    let kept: Vec<Value> = new.items().map(without_seconds).collect();
    if !old.items().map(without_seconds).all(|toleration| kept.iter().any(|new| same(new, &toleration))) {
        return errors.forbidden(new, "existing toleration can not be modified except its tolerationSeconds");
    }
    scheduling::tolerations(new, errors);
}

fn only_deleted_gates(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    let known: BTreeSet<&str> = old.items().map(|gate| gate.get("name").text()).collect();
    for gate in new.items().filter(|gate| !known.contains(gate.get("name").text())) {
        let name = gate.get("name");
        errors.forbidden(&name, format!("only deletion is allowed, but found new scheduling gate '{}'", name.text()));
    }
}

/// The new spec with everything put back that may change.
fn munged(new: &Value, old: &Value, spec: &Field<'_>, errors: &mut Errors) -> Value {
    let mut munged = new.clone();
    for field in ["containers", "initContainers"] {
        let images = old[field].as_array().into_iter().flatten().map(|container| container["image"].clone());
        let containers = munged.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten();
        for (container, image) in containers.zip(images).filter(|(container, _)| container.is_object()) {
            container["image"] = image;
        }
    }
    for field in ["activeDeadlineSeconds", "schedulingGates", "tolerations"] {
        put_back(&mut munged, old, field);
    }
    let negative = old["terminationGracePeriodSeconds"].as_i64().is_some_and(|seconds| seconds < 0);
    if negative && munged["terminationGracePeriodSeconds"] == 1 {
        put_back(&mut munged, old, "terminationGracePeriodSeconds");
    }
    if old["schedulingGates"].as_array().is_some_and(|gates| !gates.is_empty()) {
        gated(&mut munged, old, spec, errors);
    }
    munged
}

/// While a gate holds a pod back, it may be told more narrowly where to run.
fn gated(munged: &mut Value, old: &Value, spec: &Field<'_>, errors: &mut Errors) {
    let selector = spec.get("nodeSelector");
    let kept = |(key, value): (&String, &Value)| selector.value().get(key) == Some(value);
    if !old["nodeSelector"].as_object().into_iter().flatten().all(kept) {
        errors.invalid(&selector, "only additions to spec.nodeSelector are allowed (no mutations or deletions)");
    }
    put_back(munged, old, "nodeSelector");
    let terms = "/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
    let (before, after) = (old.pointer(terms).and_then(Value::as_array), munged.pointer(terms).and_then(Value::as_array));
    let path = format!("{}{}", spec.path(), terms.replace('/', "."));
    if let Some(before) = before.filter(|terms| !terms.is_empty()) {
        let after = after.map_or(&[][..], Vec::as_slice);
        if before.len() != after.len() {
            errors.invalid_as(&path, after, "no additions/deletions to non-empty NodeSelectorTerms list are allowed");
        } else {
            for (index, (new, old)) in after.iter().zip(before).enumerate().filter(|(_, (new, old))| !only_adds(new, old)) {
                let _ = old;
                let path = format!("{path}[{index}]");
                errors.invalid_as(&path, new.clone(), "only additions are allowed (no mutations or deletions)");
            }
        }
    }
    if let Some(affinity) = munged.get_mut("affinity").filter(|affinity| affinity.is_object()) {
        put_back(affinity, &old["affinity"], "nodeAffinity");
    } else {
        put_back(munged, old, "affinity");
    }
}

fn only_adds(new: &Value, old: &Value) -> bool {
    ["matchExpressions", "matchFields"].iter().all(|field| {
        let list = |term: &Value| term[field].as_array().cloned().unwrap_or_default();
        let (new, old) = (list(new), list(old));
        new.len() >= old.len() && new.iter().zip(&old).all(|(new, old)| same(new, old))
    })
}

fn put_back(munged: &mut Value, old: &Value, field: &str) {
    let Some(map) = munged.as_object_mut() else { return };
    match old.get(field) {
        Some(value) => map.insert(field.to_owned(), value.clone()),
        None => map.remove(field),
    };
}

/// What differs, a line for each: upstream prints a diff whose form it does not promise.
fn changes(new: &Value, old: &Value) -> String {
    let mut lines = String::new();
    let empty = serde_json::Map::new();
    let (new, old) = (new.as_object().unwrap_or(&empty), old.as_object().unwrap_or(&empty));
    let names: BTreeSet<&String> = new.keys().chain(old.keys()).collect();
    for name in names {
        let (new, old) = (new.get(name).unwrap_or(&Value::Null), old.get(name).unwrap_or(&Value::Null));
        if !same(new, old) {
            lines.push_str(&format!("-  {name}: {old}\n+  {name}: {new}\n"));
        }
    }
    lines
}
