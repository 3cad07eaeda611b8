//! Rules of `metadata`, which all kinds share but for the format of their names.

use std::collections::BTreeSet;

use serde_json::Value;

use super::address;
use super::error::quoted;
use super::errors::Errors;
use super::field::Field;
use super::format;

/// All annotations of an object together, so that it fits into a request and a store's record.
const ANNOTATIONS_MAX_BYTES: usize = 256 * 1024;
/// Longest name of who manages fields.
const MANAGER_MAX_BYTES: usize = 128;
/// Finalizers from before they had to be qualified.
const STANDARD_FINALIZERS: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];

/// The format of a kind's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameRule {
    /// DNS subdomain (RFC 1123): most kinds.
    Subdomain,
    /// DNS label (RFC 1123): Namespace and StatefulSet.
    Label,
    /// DNS label that starts with a letter (RFC 1035): Service.
    Label1035,
    /// Whatever fits between two slashes of a URL: roles and their bindings, events.
    PathSegment,
    /// An IP address as it is written canonically: IPAddress.
    Address,
}

impl NameRule {
    /// The rule for a kind.
    pub fn of(group: &str, kind: &str) -> Self {
        match (group, kind) {
            ("", "Namespace") | ("apps", "StatefulSet") => Self::Label,
            ("", "Service") => Self::Label1035,
            ("networking.k8s.io", "IPAddress") => Self::Address,
            ("", "Event") | ("rbac.authorization.k8s.io", _) => Self::PathSegment,
            _ => Self::Subdomain,
        }
    }

    /// Lists what is wrong with a name.
    pub fn check(self, name: &str) -> Vec<String> {
        match self {
            Self::Subdomain => format::dns1123_subdomain(name),
            Self::Label => format::dns1123_label(name),
            Self::Label1035 => format::dns1035_label(name),
            Self::PathSegment => format::path_segment(name),
            Self::Address => address::canonical_ip(name),
        }
    }

    /// Lists what is wrong with what a name is generated from: it may end in `-`, since something follows.
    pub fn check_prefix(self, prefix: &str) -> Vec<String> {
        match prefix.strip_suffix('-') {
            Some(head) if !head.is_empty() && !matches!(self, Self::PathSegment | Self::Address) => {
                let mut chars = head.chars();
                chars.next_back();
                self.check(&format!("{}a", chars.as_str()))
            }
            _ => self.check(prefix),
        }
    }
}

pub(super) fn create(metadata: &Field<'_>, namespaced: bool, rule: NameRule, errors: &mut Errors) {
    let (name, generate_name) = (metadata.get("name"), metadata.get("generateName"));
    if !generate_name.text().is_empty() {
        for message in rule.check_prefix(generate_name.text()) {
            errors.invalid(&generate_name, message);
        }
    }
    if name.text().is_empty() {
        errors.required(&name, "name or generateName is required");
    } else {
        for message in rule.check(name.text()) {
            errors.invalid(&name, message);
        }
    }
    let namespace = metadata.get("namespace");
    if namespaced {
        errors.required_format(&namespace, format::dns1123_label);
    } else if !namespace.text().is_empty() {
        errors.forbidden(&namespace, "not allowed on this type");
    }
    errors.non_negative(&metadata.get("generation"));
    shared(metadata, errors);
}

pub(super) fn update(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    if old.has("deletionTimestamp") {
        no_new_finalizers(&new.get("finalizers"), &old.get("finalizers"), errors);
    }
    let resource_version = new.get("resourceVersion");
    if resource_version.text().is_empty() {
        errors.invalid_as(resource_version.path(), "", "must be specified for an update");
    }
    let generation = new.get("generation");
    if generation.number() < old.get("generation").number() {
        errors.invalid_as(generation.path(), generation.number(), "must not be decremented");
    }
    for name in ["name", "namespace", "uid"] {
        errors.immutable_text(&new.get(name), &old.get(name));
    }
    for name in ["creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        errors.immutable(&new.get(name), &old.get(name));
    }
    shared(new, errors);
}

fn shared(metadata: &Field<'_>, errors: &mut Errors) {
    labels(&metadata.get("labels"), errors);
    annotations(&metadata.get("annotations"), errors);
    owner_references(&metadata.get("ownerReferences"), errors);
    finalizers(&metadata.get("finalizers"), errors);
    managed_fields(&metadata.get("managedFields"), errors);
    for finalizer in metadata.get("finalizers").items() {
        standard_finalizer(&finalizer, errors);
    }
}

/// The keys and values of labels, reported under the path of the map.
pub(super) fn labels(labels: &Field<'_>, errors: &mut Errors) {
    for (key, value) in labels.entries() {
        label_key(&labels.named(labels.path()), key, errors);
        for message in format::label_value(value.text()) {
            errors.invalid_as(labels.path(), value.text(), message);
        }
    }
}

/// The key of a label, reported under the path of `field`.
pub(super) fn label_key(field: &Field<'_>, key: &str, errors: &mut Errors) {
    for message in format::qualified_name(key) {
        errors.invalid_as(field.path(), key, message);
    }
}

/// Keys and total size of annotations.
pub(super) fn annotations(annotations: &Field<'_>, errors: &mut Errors) {
    let mut bytes = 0;
    for (key, value) in annotations.entries() {
        for message in format::annotation_key(key) {
            errors.invalid_as(annotations.path(), key, message);
        }
        bytes += key.len() + value.text().len();
    }
    if bytes > ANNOTATIONS_MAX_BYTES {
        errors.too_long(annotations.path(), ANNOTATIONS_MAX_BYTES);
    }
}

/// A finalizer without a domain must be one of the three old ones.
pub(super) fn standard_finalizer(finalizer: &Field<'_>, errors: &mut Errors) {
    if !finalizer.text().contains('/') && !STANDARD_FINALIZERS.contains(&finalizer.text()) {
        errors.invalid(finalizer, "name is neither a standard finalizer name nor is it fully qualified");
    }
}

fn owner_references(references: &Field<'_>, errors: &mut Errors) {
    let path = references.path();
    let mut controller: Option<String> = None;
    for reference in references.items() {
        let text = |name| reference.get(name).text();
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        if api_version.rsplit('/').next().is_none_or(str::is_empty) {
            errors.invalid_as(&references.child("apiVersion"), api_version, "version must not be empty");
        }
        for name in ["kind", "name", "uid"] {
            if text(name).is_empty() {
                errors.invalid_as(&references.child(name), "", "must not be empty");
            }
        }
        if (api_version, kind) == ("v1", "Event") {
            errors.invalid_as(path, reference.value().clone(), "/v1, Kind=Event is disallowed from being an owner");
        }
        if reference.get("controller").is_true() {
            let this = format!("{kind}/{}", text("name"));
            match &controller {
                None => controller = Some(this),
                Some(first) => errors.invalid(
                    references,
                    format!(
                        "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {this}"
                    ),
                ),
            }
        }
    }
}

fn finalizers(finalizers: &Field<'_>, errors: &mut Errors) {
    let (mut orphan, mut foreground) = (false, false);
    for finalizer in finalizers.items() {
        errors.format(&finalizer.named(finalizers.path()), format::qualified_name);
        orphan |= finalizer.text() == "orphan";
        foreground |= finalizer.text() == "foregroundDeletion";
    }
    if orphan && foreground {
        errors.invalid(finalizers, "finalizer orphan and foregroundDeletion cannot be both set");
    }
}

fn no_new_finalizers(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    let set = |field: &Field<'_>| field.items().map(|item| item.text().to_owned()).collect::<BTreeSet<_>>();
    let extra: Vec<String> = set(new).difference(&set(old)).map(|name| quoted(name)).collect();
    if !extra.is_empty() {
        errors.forbidden(
            new,
            format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                extra.join(", ")
            ),
        );
    }
}

fn managed_fields(entries: &Field<'_>, errors: &mut Errors) {
    for entry in entries.items() {
        let (operation, kind, manager) = (entry.get("operation"), entry.get("fieldsType"), entry.get("manager"));
        if !matches!(operation.text(), "Apply" | "Update") {
            errors.invalid_as(operation.path(), operation.text(), "must be `Apply` or `Update`");
        }
        if !matches!(kind.text(), "" | "FieldsV1") {
            errors.invalid(&kind, "must be `FieldsV1`");
        }
        if manager.text().len() > MANAGER_MAX_BYTES {
            errors.too_long(manager.path(), MANAGER_MAX_BYTES);
        }
        for (position, char) in manager.text().char_indices().filter(|(_, char)| char.is_control()) {
            errors.invalid(&manager, format!("invalid character U+{:04X} (at position {position})", u32::from(char)));
        }
    }
}

/// Metadata of a template that is only copied from: labels and annotations, nothing else.
pub(super) fn template_only(metadata: &Field<'_>, errors: &mut Errors) {
    annotations(&metadata.get("annotations"), errors);
    labels(&metadata.get("labels"), errors);
    for (name, value) in metadata.map().into_iter().flatten() {
        if !matches!(name.as_str(), "labels" | "annotations") && *value != Value::Null {
            errors.forbidden(&metadata.get(name), "cannot be set");
        }
    }
}
