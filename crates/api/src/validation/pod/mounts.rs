//! Rules of volume mounts and block devices in a container.

use std::collections::{BTreeMap, BTreeSet};

use super::super::errors::Errors;
use super::super::field::Field;
use super::Pod;
use super::volume::{descending_path, has_backstep};

pub(super) fn volume_mounts(container: &Field<'_>, pod: &Pod<'_>, errors: &mut Errors) {
    let mounts = container.get("volumeMounts");
    let devices = places(&container.get("volumeDevices"), "devicePath");
    let mut paths = BTreeSet::new();
    for mount in mounts.items() {
        let (name, path) = (mount.get("name"), mount.get("mountPath"));
        errors.required_text(&name);
        if !pod.volumes.contains_key(name.text()) {
            errors.not_found(&name.named(name.path()), "");
        }
        errors.required_text(&path);
        if !paths.insert(path.text()) {
            errors.invalid(&path, "must be unique");
        }
        if devices.contains_key(name.text()) {
            errors.invalid(&name, "must not already exist in volumeDevices");
        }
        if devices.values().any(|device| *device == path.text()) {
            errors.invalid(&path, "must not already exist as a path in volumeDevices");
        }
        sub_paths(&mounts, &mount, errors);
        propagation(&mounts, &mount, container, errors);
        recursive_read_only(&mounts, &mount, errors);
    }
}

/// Upstream reports what is below under the list rather than under the mount.
fn sub_paths(mounts: &Field<'_>, mount: &Field<'_>, errors: &mut Errors) {
    let (path, expression) = (mount.get("subPath"), mount.get("subPathExpr"));
    if !path.text().is_empty() {
        descending_path(&path.named(mounts.child("subPath")), errors);
    }
    if !expression.text().is_empty() {
        if !path.text().is_empty() {
            errors.invalid(&expression, "subPathExpr and subPath are mutually exclusive");
        }
        descending_path(&expression.named(mounts.child("subPathExpr")), errors);
    }
}

fn propagation(mounts: &Field<'_>, mount: &Field<'_>, container: &Field<'_>, errors: &mut Errors) {
    let propagation = mount.get("mountPropagation").named(mounts.child("mountPropagation"));
    if !propagation.is_set() {
        return;
    }
    errors.one_of(&propagation, &["Bidirectional", "HostToContainer", "None"]);
    if propagation.text() == "Bidirectional" && !container.get("securityContext").get("privileged").is_true() {
        errors.forbidden(&propagation, "Bidirectional mount propagation is available only to privileged containers");
    }
}

fn recursive_read_only(mounts: &Field<'_>, mount: &Field<'_>, errors: &mut Errors) {
    let recursive = mount.get("recursiveReadOnly").named(mounts.child("recursiveReadOnly"));
    match recursive.text() {
        "Enabled" | "IfPossible" => {
            if !mount.get("readOnly").is_true() {
                errors.forbidden(&recursive, "may only be specified when readOnly is true");
            }
            if !matches!(mount.get("mountPropagation").text(), "" | "None") {
                errors.forbidden(&recursive, "may only be specified when mountPropagation is None or not specified");
            }
        }
        _ if recursive.is_set() => errors.one_of(&recursive, &["Disabled", "Enabled", "IfPossible"]),
        _ => {}
    }
}

pub(super) fn volume_devices(container: &Field<'_>, pod: &Pod<'_>, errors: &mut Errors) {
    let mounts = places(&container.get("volumeMounts"), "mountPath");
    let (mut names, mut paths) = (BTreeSet::new(), BTreeSet::new());
    for device in container.get("volumeDevices").items() {
        let (name, path) = (device.get("name"), device.get("devicePath"));
        errors.required_text(&name);
        if names.contains(name.text()) {
            errors.invalid(&name, "must be unique");
        }
        match pod.volumes.get(name.text()) {
            None => errors.not_found(&name, ""),
            Some(volume) if volume["persistentVolumeClaim"].is_null() && volume["ephemeral"].is_null() => {
                errors.invalid(&name, "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode")
            }
            Some(_) => {}
        }
        errors.required_text(&path);
        if paths.contains(path.text()) {
            errors.invalid(&path, "must be unique");
        }
        if has_backstep(path.text()) {
            errors.invalid(&path, "can not contain backsteps ('..')");
        } else {
            paths.insert(path.text());
        }
        if mounts.contains_key(name.text()) {
            errors.invalid(&name, "must not already exist in volumeMounts");
        }
        if mounts.values().any(|mount| *mount == path.text()) {
            errors.invalid(&path, "must not already exist as a path in volumeMounts");
        }
        if !name.text().is_empty() {
            names.insert(name.text());
        }
    }
}

fn places<'a>(list: &Field<'a>, path: &str) -> BTreeMap<&'a str, &'a str> {
    list.items().map(|item| (item.get("name").text(), item.get(path).text())).collect()
}
