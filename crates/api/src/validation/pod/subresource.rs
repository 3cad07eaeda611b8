//! Changes of a pod through paths of its own: `/ephemeralcontainers` and `/resize`.

use serde_json::Value;

use crate::pod::qos_class;

use super::super::equal::same;
use super::super::errors::Errors;
use super::super::field::Field;
use super::container::is_sidecar;
use super::update::annotation_updates;
use super::{MIRROR, pod_only};

const CPU_AND_MEMORY: [&str; 2] = ["cpu", "memory"];

/// Ephemeral containers come; they neither change nor go.
pub(in crate::validation) fn ephemeral_containers(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    if is_mirror(old) {
        return errors.forbidden(&new.named("[]"), "static pods do not support ephemeral containers");
    }
    pod_only(new, errors);
    annotation_updates(new, old, errors);
    let (containers, before) = (new.get("spec").get("ephemeralContainers"), old.get("spec").get("ephemeralContainers"));
    for container in before.items() {
        let name = container.get("name").text();
        let now = containers.items().find(|container| container.get("name").text() == name);
        match now {
            None => errors.forbidden(&containers, format!("existing ephemeral containers \"{name}\" may not be removed\n")),
            Some(now) if !same(now.value(), container.value()) => errors.forbidden(
                &containers,
                format!(
                    "existing ephemeral containers \"{name}\" may not be changed\n-  {}\n+  {}\n",
                    container.value(),
                    now.value()
                ),
            ),
            Some(_) => {}
        }
    }
}

/// CPU and memory of running containers may change, within the pod's class of service.
pub(in crate::validation) fn resize(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    const MUTABLE: &str = "only cpu and memory resources are mutable";
    if is_mirror(old) {
        return errors.forbidden(&new.named("[]"), "static pods cannot be resized");
    }
    if old.get("spec").get("os").get("name").text() == "windows" {
        return errors.forbidden(&new.named("[]"), "windows pods cannot be resized");
    }
    let earlier = errors.0.len();
    pod_only(new, errors);
    let (spec, before) = (new.get("spec"), old.get("spec"));
    if qos_class(new.value()) != qos_class(old.value()) {
        let class = new.get("status").get("qosClass").text();
        errors.invalid_as(spec.path(), class, "Pod QOS Class may not change as a result of resizing");
    }
    // What follows compares one by one.
    if is_rearranged(&spec, &before, errors) {
        return;
    }
    for field in ["initContainers", "containers"] {
        let containers = spec.get(field);
        for (container, before) in containers.items().zip(before.get(field).items()) {
            if field == "containers" || is_sidecar(&container) {
                removals(&container.get("resources"), &before.get("resources"), errors);
            }
        }
    }
    let mut munged = spec.value().clone();
    for field in ["containers", "initContainers"] {
        let (now, before) = (munged.get_mut(field).and_then(Value::as_array_mut), before.get(field));
        for (container, before) in now.into_iter().flatten().zip(before.items()) {
            let sidecar = before.get("restartPolicy").text() == "Always";
            if field == "containers" || sidecar {
                keep_cpu_and_memory(container, before.value());
            }
            if !same(container, before.value()) {
                errors.forbidden(
                    &spec,
                    match (field, sidecar) {
                        ("containers", _) => MUTABLE,
                        (_, true) => "only cpu and memory resources for sidecar containers are mutable",
                        (_, false) => "resources for non-sidecar init containers are immutable",
                    },
                );
            }
        }
    }
    if errors.0.len() == earlier && !same(&munged, before.value()) {
        errors.forbidden(&spec, MUTABLE);
    }
}

/// Whether containers came, went, moved or got another name, each of which is a mistake.
fn is_rearranged(spec: &Field<'_>, before: &Field<'_>, errors: &mut Errors) -> bool {
    let earlier = errors.0.len();
    for field in ["containers", "initContainers"] {
        let (containers, old) = (spec.get(field), before.get(field));
        if containers.items().count() != old.items().count() {
            errors.forbidden(&containers, format!("{field} may not be added or removed on resize"));
            continue;
        }
        for (container, old) in containers.items().zip(old.items()) {
            if container.get("name").text() != old.get("name").text() {
                errors.forbidden(&container.get("name"), format!("{field} may not be renamed or reordered on resize"));
            }
        }
    }
    errors.0.len() > earlier
}

fn is_mirror(pod: &Field<'_>) -> bool {
    pod.get("metadata").get("annotations").has(MIRROR)
}

fn removals(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    for (list, text) in [("requests", "resource requests cannot be removed"), ("limits", "resource limits cannot be removed")] {
        if old.get(list).entries().any(|(name, _)| !new.get(list).has(name)) {
            errors.forbidden(&new.get(list), text);
        }
    }
}

/// Puts back what was there of cpu and memory.
fn keep_cpu_and_memory(container: &mut Value, before: &Value) {
    for list in ["requests", "limits"] {
        let before = before["resources"][list].as_object();
        let Some(now) = container.get_mut("resources").and_then(|all| all.get_mut(list)).and_then(Value::as_object_mut) else {
            continue;
        };
        for name in CPU_AND_MEMORY {
            match before.and_then(|list| list.get(name)) {
                Some(amount) => now.insert(name.to_owned(), amount.clone()),
                None => now.remove(name),
            };
        }
    }
    if let (Some(container), policy) = (container.as_object_mut(), &before["resizePolicy"]) {
        match policy {
            Value::Null => container.remove("resizePolicy"),
            policy => container.insert("resizePolicy".to_owned(), policy.clone()),
        };
    }
}
