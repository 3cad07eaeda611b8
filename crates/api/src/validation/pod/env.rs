//! Rules of environment variables and of where their values come from.

use crate::quantity::Quantity;

use super::super::errors::Errors;
use super::super::field::Field;
use super::super::format;
use super::each_container;
use super::volume::no_backsteps;

const ENV_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
const VOLUME_FIELDS: &[&str] =
    &["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];
const RESOURCES: &[&str] =
    &["limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory"];
const BYTE_DIVISORS: &[&str] = &["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];
const BYTE_DIVISORS_TEXT: &str = "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei";

pub(super) fn env(vars: &Field<'_>, errors: &mut Errors) {
    for var in vars.items() {
        errors.required_format(&var.get("name"), format::env_name);
        value_from(&var.get("valueFrom"), var.get("value").text(), errors);
    }
}

fn value_from(source: &Field<'_>, value: &str, errors: &mut Errors) {
    if !source.is_set() {
        return;
    }
    let mut sources = 0;
    let mut each = |name: &str, rules: &dyn Fn(&Field<'_>, &mut Errors), errors: &mut Errors| {
        if source.has(name) {
            sources += 1;
            rules(&source.get(name), errors);
        }
    };
    each("fieldRef", &|field, errors| field_ref(field, ENV_FIELDS, errors), errors);
    each("resourceFieldRef", &|field, errors| resource_field_ref(field, false, errors), errors);
    each("configMapKeyRef", &key_ref, errors);
    each("secretKeyRef", &key_ref, errors);
    each("fileKeyRef", &file_key_ref, errors);
    let wrong = match sources {
        0 => "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
        _ if !value.is_empty() => "may not be specified when `value` is not empty",
        1 => return,
        _ => "may not have more than one field specified at a time",
    };
    errors.invalid_as(source.path(), "", wrong);
}

fn key_ref(reference: &Field<'_>, errors: &mut Errors) {
    errors.format(&reference.get("name"), format::dns1123_subdomain);
    errors.required_format(&reference.get("key"), format::config_map_key);
}

fn file_key_ref(reference: &Field<'_>, errors: &mut Errors) {
    errors.required_format(&reference.get("key"), format::env_name);
    errors.required_format(&reference.get("volumeName"), format::dns1123_label);
    let path = reference.get("path");
    errors.required_text(&path);
    no_backsteps(&path, errors);
}

/// Environment variables can be read from files of an empty directory only.
pub(super) fn files_of_volumes(spec: &Field<'_>, errors: &mut Errors) {
    let volumes = spec.get("volumes");
    each_container(spec, |container| {
        for var in container.get("env").items() {
            let file = var.get("valueFrom").get("fileKeyRef");
            if !file.is_set() {
                continue;
            }
            let name = file.get("volumeName");
            match volumes.items().find(|volume| volume.get("name").text() == name.text()) {
                None => errors.not_found(&name, ""),
                Some(volume) if !volume.has("emptyDir") => {
                    errors.invalid(&name, "referenced volume must be of type emptyDir");
                }
                Some(_) => {}
            }
        }
    });
}

pub(super) fn env_from(sources: &Field<'_>, errors: &mut Errors) {
    for source in sources.items() {
        errors.optional_format(&source.get("prefix"), format::env_name);
        let set: Vec<Field<'_>> =
            ["configMapRef", "secretRef"].iter().map(|name| source.get(name)).filter(Field::is_set).collect();
        for reference in &set {
            let name = reference.get("name");
            errors.required_format(&name, format::dns1123_subdomain);
        }
        match set.len() {
            0 => errors.invalid_as(sources.path(), "", "must specify one of: `configMapRef` or `secretRef`"),
            1 => {}
            _ => errors.invalid_as(sources.path(), "", "may not have more than one field specified at a time"),
        }
    }
}

/// A field of the pod that a file of a volume shows.
pub(super) fn volume_field_ref(reference: &Field<'_>, errors: &mut Errors) {
    field_ref(reference, VOLUME_FIELDS, errors);
}

fn field_ref(reference: &Field<'_>, allowed: &[&str], errors: &mut Errors) {
    let (api_version, path) = (reference.get("apiVersion"), reference.get("fieldPath"));
    for field in [&api_version, &path] {
        if field.text().is_empty() {
            return errors.required(field, "");
        }
    }
    if api_version.text() != "v1" {
        let wrong = format!("error converting fieldPath: unsupported pod version: {}", api_version.text());
        return errors.invalid(&path, wrong);
    }
    let subscripted = path.text().strip_suffix("']").and_then(|head| head.split_once("['"));
    match subscripted {
        Some(("metadata.annotations", key)) => {
            for message in format::annotation_key(key) {
                errors.invalid_as(reference.path(), key.to_lowercase(), message);
            }
        }
        Some(("metadata.labels", key)) => {
            for message in format::qualified_name(key) {
                errors.invalid_as(reference.path(), key, message);
            }
        }
        Some((_, _)) => errors.invalid(&path, unknown_label(path.text())),
        None if !is_pod_field(path.text()) => errors.invalid(&path, unknown_label(path.text())),
        None => errors.one_of(&path, allowed),
    }
}

fn unknown_label(path: &str) -> String {
    format!("error converting fieldPath: field label not supported: {path}")
}

/// Fields that upstream converts, whether or not they may be used here.
fn is_pod_field(path: &str) -> bool {
    ENV_FIELDS.contains(&path)
        || VOLUME_FIELDS.contains(&path)
        || matches!(path, "spec.restartPolicy" | "spec.schedulerName" | "status.phase" | "spec.host")
}

/// An amount of a container's resources, in an environment variable or (`volume`) in a file.
pub(super) fn resource_field_ref(reference: &Field<'_>, volume: bool, errors: &mut Errors) {
    let (container, resource) = (reference.get("containerName"), reference.get("resource"));
    let huge_pages = resource.text().starts_with("limits.hugepages-") || resource.text().starts_with("requests.hugepages-");
    if volume && container.text().is_empty() {
        errors.required(&container, "");
    } else if resource.text().is_empty() {
        errors.required(&resource, "");
    } else if !huge_pages {
        errors.one_of(&resource, RESOURCES);
    }
    divisor(&reference.get("divisor"), resource.text(), huge_pages, errors);
}

fn divisor(divisor: &Field<'_>, resource: &str, huge_pages: bool, errors: &mut Errors) {
    let Ok(quantity) = divisor.text().parse::<Quantity>() else { return };
    let shown = quantity.to_string();
    if quantity.is_zero() {
        return;
    }
    let what = match resource.split_once('.').map(|(_, name)| name) {
        Some("cpu") => {
            if !matches!(shown.as_str(), "1m" | "1") {
                errors.invalid_as(divisor.path(), resource, "only divisor's values 1m and 1 are supported with the cpu resource");
            }
            return;
        }
        Some("memory") => "memory",
        Some("ephemeral-storage") => "local ephemeral storage",
        _ if huge_pages => "hugepages",
        _ => return,
    };
    if !BYTE_DIVISORS.contains(&shown.as_str()) {
        let wrong = format!("only divisor's values {BYTE_DIVISORS_TEXT} are supported with the {what} resource");
        errors.invalid_as(divisor.path(), resource, wrong);
    }
}
