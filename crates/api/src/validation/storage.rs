//! Rules of PersistentVolume, PersistentVolumeClaim and StorageClass.

use serde_json::Value;

use crate::quantity::Quantity;

use super::equal::same;
use super::errors::Errors;
use super::field::Field;
use super::pod::{node_selector, resources, source};
use super::selector::label_selector;
use super::{format, metadata};

const ACCESS_MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
const VOLUME_MODES: &[&str] = &["Block", "Filesystem"];
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
/// Parameters of a class, counted and in bytes, so that it fits into a store's record.
const PARAMETERS_MAX: usize = 512;
const PARAMETERS_MAX_BYTES: usize = 256 * 1024;

pub(super) fn persistent_volume(persistent_volume: &Field<'_>, errors: &mut Errors) {
    let spec = persistent_volume.get("spec");
    let (modes, capacity, reclaim) = (spec.get("accessModes"), spec.get("capacity"), spec.get("persistentVolumeReclaimPolicy"));
    if modes.is_empty() {
        errors.required(&modes, "");
    }
    access_modes(&modes, errors);
    if capacity.is_empty() {
        errors.required(&capacity, "");
    }
    if !capacity.has("storage") || capacity.len() > 1 {
        errors.unsupported_as(capacity.path(), capacity.value().clone(), &["storage"]);
    }
    for (_, amount) in capacity.entries() {
        positive(&amount, errors);
    }
    if !reclaim.text().is_empty() {
        errors.one_of(&reclaim, &["Delete", "Recycle", "Retain"]);
    }
    let affinity = spec.get("nodeAffinity");
    if affinity.has("required") {
        node_selector(&affinity.get("required"), errors);
    } else if affinity.is_set() {
        errors.required(&affinity.get("required"), "must specify required node constraints");
    }
    source::of_persistent_volume(&spec, errors);
    if spec.has("local") && !affinity.is_set() {
        errors.required(&affinity, "Local volume requires node affinity");
    }
    let host_path = spec.get("hostPath").get("path").text();
    if !host_path.is_empty() && host_path.trim_matches('/').is_empty() && reclaim.text() == "Recycle" {
        errors.forbidden(&reclaim, "may not be 'recycle' for a hostPath mount of '/'");
    }
    errors.optional_format(&spec.get("storageClassName"), format::dns1123_subdomain);
    if spec.has("volumeMode") {
        errors.one_of(&spec.get("volumeMode"), VOLUME_MODES);
    }
    attributes_class(&spec, errors);
}

fn attributes_class(spec: &Field<'_>, errors: &mut Errors) {
    let class = spec.get("volumeAttributesClassName");
    if !class.is_set() {
        return;
    }
    if class.text().is_empty() {
        errors.required(&class, "an empty string is disallowed");
    } else {
        errors.format(&class, format::dns1123_subdomain);
    }
    if !spec.has("csi") {
        errors.required(&spec.get("csi"), "has to be specified when using volumeAttributesClassName");
    }
}

pub(super) fn persistent_volume_update(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    /// What is not the source.
    const OTHERS: &[&str] = &[
        "accessModes",
        "capacity",
        "claimRef",
        "mountOptions",
        "nodeAffinity",
        "persistentVolumeReclaimPolicy",
        "storageClassName",
        "volumeAttributesClassName",
        "volumeMode",
    ];
    persistent_volume(new, errors);
    let (spec, before) = (new.get("spec"), old.get("spec"));
    let sources = |spec: &Field<'_>| {
        let mut sources = spec.value().clone();
        if let Some(map) = sources.as_object_mut() {
            map.retain(|name, _| !OTHERS.contains(&name.as_str()));
        }
        sources
    };
    let (mut after, before_sources) = (sources(&spec), sources(&before));
    if before_sources["csi"].is_object()
        && before_sources["csi"]["controllerExpandSecretRef"].is_null()
        && let Some(csi) = after.get_mut("csi").and_then(Value::as_object_mut)
    {
        csi.remove("controllerExpandSecretRef");
    }
    if !same(&after, &before_sources) {
        errors.forbidden(
            &spec.named("spec.persistentvolumesource"),
            format!("spec.persistentvolumesource is immutable after creation\n-  {before_sources}\n+  {after}\n"),
        );
    }
    errors.immutable(&spec.get("volumeMode").named("volumeMode"), &before.get("volumeMode"));
    let affinity = spec.get("nodeAffinity").named("nodeAffinity");
    if before.has("nodeAffinity") && !same(affinity.value(), before.get("nodeAffinity").value()) {
        errors.invalid(&affinity, "field is immutable, except for updating from beta label to GA");
    }
}

pub(super) fn persistent_volume_claim(claim: &Field<'_>, errors: &mut Errors) {
    claim_template(&claim.get("spec"), errors);
}

/// The spec of a claim, or of a template that claims are made from.
pub(super) fn claim_template(spec: &Field<'_>, errors: &mut Errors) {
    let (modes, selector) = (spec.get("accessModes"), spec.get("selector"));
    if modes.is_empty() {
        errors.required(&modes, "at least 1 access mode is required");
    }
    label_selector(&selector, errors);
    access_modes(&modes, errors);
    let requests = spec.get("resources").get("requests");
    let storage = requests.key("storage").named(spec.child("resources[storage]"));
    if storage.is_set() {
        positive(&storage, errors)
    } else {
        errors.required(&storage, "")
    }
    errors.optional_format(&spec.get("storageClassName"), format::dns1123_subdomain);
    if spec.has("volumeMode") {
        errors.one_of(&spec.get("volumeMode"), VOLUME_MODES);
    }
    let (source, reference) = (spec.get("dataSource"), spec.get("dataSourceRef"));
    data_source(&source, errors);
    data_source(&reference, errors);
    errors.optional_format(&reference.get("namespace"), format::dns1123_label);
    if source.is_set() && !reference.get("namespace").text().is_empty() {
        let wrong = "may not be specified when dataSourceRef.namespace is specified";
        errors.invalid_as(spec.path(), source.path(), wrong);
    } else if source.is_set()
        && reference.is_set()
        && ["apiGroup", "kind", "name"].iter().any(|name| source.get(name).value() != reference.get(name).value())
    {
        errors.invalid_as(spec.path(), source.path(), "must match dataSourceRef");
    }
    errors.optional_format(&spec.get("volumeAttributesClassName"), format::dns1123_subdomain);
}

fn data_source(source: &Field<'_>, errors: &mut Errors) {
    if !source.is_set() {
        return;
    }
    errors.required_text(&source.get("name"));
    errors.required_text(&source.get("kind"));
    let (group, kind) = (source.get("apiGroup"), source.get("kind").text());
    if group.text().is_empty() && kind != "PersistentVolumeClaim" {
        errors.invalid_as(source.path(), kind, "must be 'PersistentVolumeClaim' when referencing the default apiGroup");
    }
    errors.optional_format(&group, format::dns1123_subdomain);
}

pub(super) fn persistent_volume_claim_update(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    persistent_volume_claim(new, errors);
    let (spec, before) = (new.get("spec"), old.get("spec"));
    let [class, class_before] = [new, old].map(|claim| claim.get("metadata").get("annotations").key(CLASS_ANNOTATION));
    if class.text() != class_before.text() {
        let path = format!("metadata.annotations.{CLASS_ANNOTATION}");
        errors.invalid_as(&path, class.text(), "field is immutable");
    }
    let allowed = allowed_claim_changes(new, old);
    if !same(&allowed, before.value()) {
        let text = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        errors.forbidden(&spec, format!("{text}\n{}", claim_changes(&allowed, before.value())));
    }
    let size = |field: &Field<'_>| resources::quantity(field).unwrap_or(Quantity::ZERO);
    let request = spec.get("resources").get("requests").get("storage");
    let capacity = old.get("status").get("capacity").key("storage");
    if size(&request) < size(&before.get("resources").get("requests").key("storage")) && size(&request) <= size(&capacity) {
        errors.forbidden(&request, "field can not be less than status.capacity");
    }
    errors.immutable(&spec.get("volumeMode").named("volumeMode"), &before.get("volumeMode"));
    let (attributes, had) = (spec.get("volumeAttributesClassName"), before.has("volumeAttributesClassName"));
    if had && !attributes.is_set() {
        errors.forbidden(&attributes, "update from non-nil value to nil is forbidden");
    } else if had && attributes.text().is_empty() && !before.get("volumeAttributesClassName").text().is_empty() {
        errors.forbidden(&attributes, "update from non-nil value to an empty string is forbidden");
    }
}

/// The new spec with everything put back that may change: a volume once, a class once, the size once bound.
fn allowed_claim_changes(new: &Field<'_>, old: &Field<'_>) -> Value {
    let (mut spec, before) = (new.get("spec").value().clone(), old.get("spec").value());
    if before["volumeName"].as_str().unwrap_or_default().is_empty() {
        put_back(&mut spec, before, "volumeName");
    }
    let annotation = old.get("metadata").get("annotations").key(CLASS_ANNOTATION);
    let named = spec["storageClassName"].as_str();
    if before["storageClassName"].is_null() && named.is_some() && (!annotation.is_set() || annotation.value().as_str() == named) {
        put_back(&mut spec, before, "storageClassName");
    }
    if new.get("status").get("phase").text() == "Bound" {
        if let Some(requests) = spec.pointer_mut("/resources/requests").filter(|requests| requests.is_object()) {
            put_back(requests, &before["resources"]["requests"], "storage");
        }
        put_back(&mut spec, before, "volumeAttributesClassName");
    }
    spec
}

fn put_back(spec: &mut Value, old: &Value, field: &str) {
    let Some(map) = spec.as_object_mut() else { return };
    match old.get(field) {
        Some(value) => map.insert(field.to_owned(), value.clone()),
        None => map.remove(field),
    };
}

fn claim_changes(new: &Value, old: &Value) -> String {
    format!("-  {old}\n+  {new}\n")
}

pub(super) fn persistent_volume_claim_status(new: &Field<'_>, errors: &mut Errors) {
    let (modes, status) = (new.get("spec").get("accessModes"), new.get("status"));
    if modes.is_empty() {
        errors.required(&modes.named("Spec.accessModes"), "");
    }
    for (_, amount) in status.get("capacity").entries() {
        if let Some(quantity) = resources::quantity(&amount).filter(|quantity| quantity.is_negative()) {
            errors.invalid_as(amount.path(), quantity.units(), "must be a valid resource quantity");
        }
    }
}

fn access_modes(modes: &Field<'_>, errors: &mut Errors) {
    let (mut alone, mut shared) = (false, false);
    for mode in modes.items() {
        errors.one_of(&mode.named(modes.path()), ACCESS_MODES);
        alone |= mode.text() == "ReadWriteOncePod";
        shared |= mode.text() != "ReadWriteOncePod" && ACCESS_MODES.contains(&mode.text());
    }
    if alone && shared {
        errors.forbidden(modes, "may not use ReadWriteOncePod with other access modes");
    }
}

fn positive(amount: &Field<'_>, errors: &mut Errors) {
    let Some(quantity) = resources::quantity(amount) else { return };
    if quantity.is_zero() || quantity.is_negative() {
        errors.invalid_as(amount.path(), quantity.to_string(), "must be greater than zero");
    }
}

pub(super) fn storage_class(class: &Field<'_>, errors: &mut Errors) {
    let (provisioner, parameters, reclaim, binding) =
        (class.get("provisioner"), class.get("parameters"), class.get("reclaimPolicy"), class.get("volumeBindingMode"));
    errors.required_text(&provisioner);
    if !provisioner.text().is_empty() {
        errors.format(&provisioner, format::annotation_key);
    }
    if parameters.len() > PARAMETERS_MAX {
        errors.too_long(parameters.path(), PARAMETERS_MAX);
    } else {
        let bytes: usize = parameters.entries().map(|(key, value)| key.len() + value.text().len()).sum();
        if parameters.has("") {
            errors.invalid_as(parameters.path(), "", "field can not be empty.");
        }
        if bytes > PARAMETERS_MAX_BYTES {
            errors.too_long(parameters.path(), PARAMETERS_MAX_BYTES);
        }
    }
    if !reclaim.text().is_empty() {
        errors.one_of(&reclaim, &["Delete", "Retain"]);
    }
    if binding.is_set() {
        errors.one_of(&binding, &["Immediate", "WaitForFirstConsumer"])
    } else {
        errors.required(&binding, "")
    }
    for term in class.get("allowedTopologies").items() {
        for requirement in term.get("matchLabelExpressions").items() {
            let (key, values) = (requirement.get("key"), requirement.get("values"));
            if values.is_empty() {
                errors.required(&values, "");
            }
            metadata::label_key(&key, key.text(), errors);
        }
    }
}

pub(super) fn storage_class_update(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    if !same(new.get("parameters").value(), old.get("parameters").value()) {
        errors.forbidden(&new.get("parameters"), "updates to parameters are forbidden.");
    }
    if new.get("provisioner").text() != old.get("provisioner").text() {
        errors.forbidden(&new.get("provisioner"), "updates to provisioner are forbidden.");
    }
    if new.get("reclaimPolicy").text() != old.get("reclaimPolicy").text() {
        errors.forbidden(&new.get("reclaimPolicy"), "updates to reclaimPolicy are forbidden.");
    }
    errors.immutable(&new.get("volumeBindingMode"), &old.get("volumeBindingMode"));
}
