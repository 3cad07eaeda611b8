//! Rules of volumes: names, where they may be found, and paths of files in them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::errors::Errors;
use super::super::field::Field;
use super::super::format;
use super::source;

/// Largest file mode, in octal.
const MODE_MAX: i64 = 0o777;
/// Longest `name:portal` that an iSCSI initiator takes.
const ISCSI_NAME_MAX: usize = 64;

/// Checks volumes and returns those without a mistake.
pub(super) fn volumes<'a>(
    volumes: &Field<'a>,
    pod_name: &str,
    is_pod: bool,
    errors: &mut Errors,
) -> BTreeMap<&'a str, &'a Value> {
    let is_ephemeral = |volume: &Field<'_>| volume.has("ephemeral") && !pod_name.is_empty();
    let made: BTreeSet<String> =
        volumes.items().filter(is_ephemeral).map(|volume| format!("{pod_name}-{}", volume.get("name").text())).collect();
    let mut fine = BTreeMap::new();
    for volume in volumes.items() {
        let before = errors.0.len();
        volume_source(&volume, pod_name, is_pod, errors);
        let name = volume.get("name");
        errors.required_format(&name, format::dns1123_label);
        if fine.contains_key(name.text()) {
            errors.duplicate(&name);
        }
        if errors.0.len() == before {
            fine.insert(name.text(), volume.value());
        }
        let claim = volume.get("persistentVolumeClaim").get("claimName");
        if made.contains(claim.text()) {
            errors.invalid(&claim, "must not reference a PVC that gets created for an ephemeral volume");
        }
    }
    fine
}

fn volume_source(volume: &Field<'_>, pod_name: &str, is_pod: bool, errors: &mut Errors) {
    source::of_pod(volume, errors);
    let (name, iscsi) = (volume.get("name"), volume.get("iscsi"));
    if iscsi.has("initiatorName") && name.text().len() + 1 + iscsi.get("targetPortal").text().len() > ISCSI_NAME_MAX {
        errors.invalid(
            &name,
            "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.",
        );
    }
    if volume.has("ephemeral") && !pod_name.is_empty() && !name.text().is_empty() {
        let claim = format!("{pod_name}-{}", name.text());
        for message in format::dns1123_subdomain(&claim) {
            errors.invalid(&name, format!("PVC name \"{claim}\": {message}"));
        }
    }
    let reference = volume.get("image").get("reference");
    if is_pod && volume.has("image") && reference.text().is_empty() {
        errors.required(&reference, "");
    }
}

pub(super) fn key_to_path(item: &Field<'_>, errors: &mut Errors) {
    errors.required_text(&item.get("key"));
    errors.required_text(&item.get("path"));
    local_path(&item.get("path"), errors);
    mode(&item.get("mode"), errors);
}

pub(super) fn mode(mode: &Field<'_>, errors: &mut Errors) {
    if mode.int().is_some_and(|bits| !(0..=MODE_MAX).contains(&bits)) {
        errors.invalid(mode, "must be a number between 0 and 0777 (octal), both inclusive");
    }
}

/// A path within the volume: relative, without `..` and without a reserved name.
pub(super) fn local_path(path: &Field<'_>, errors: &mut Errors) {
    descending_path(path, errors);
    if path.text().starts_with("..") && !path.text().starts_with("../") {
        errors.invalid(path, "must not start with '..'");
    }
}

/// A relative path without `..`.
pub(super) fn descending_path(path: &Field<'_>, errors: &mut Errors) {
    if path.text().starts_with('/') {
        errors.invalid(path, "must be a relative path");
    }
    no_backsteps(path, errors);
}

pub(super) fn no_backsteps(path: &Field<'_>, errors: &mut Errors) {
    if has_backstep(path.text()) {
        errors.invalid(path, "must not contain '..'");
    }
}

/// Whether a path has a segment `..`.
pub(super) fn has_backstep(path: &str) -> bool {
    path.split('/').any(|segment| segment == "..")
}
