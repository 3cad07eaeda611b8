//! Rules of ConfigMap and Secret.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::equal::same;
use super::errors::Errors;
use super::field::Field;
use super::format;

/// All data of one object, so that it fits into a request and into a node's memory.
const DATA_MAX_BYTES: usize = 1024 * 1024;
const SERVICE_ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";
const IMMUTABLE: &str = "field is immutable when `immutable` is set";

pub(super) fn config_map(config_map: &Field<'_>, errors: &mut Errors) {
    let (data, binary) = (config_map.get("data"), config_map.get("binaryData"));
    let mut bytes = 0;
    for (key, value) in data.entries() {
        config_key(key, &value, errors);
        if binary.has(key) {
            errors.invalid_as(value.path(), key, "duplicate of key present in binaryData");
        }
        bytes += value.text().len();
    }
    for (key, value) in binary.entries() {
        config_key(key, &value, errors);
        bytes += decoded(&value).len();
    }
    if bytes > DATA_MAX_BYTES {
        // Upstream means the whole object, whose path it prints as an empty index.
        errors.too_long("[]", DATA_MAX_BYTES);
    }
}

pub(super) fn config_map_update(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    stays_immutable(new, old, &["data", "binaryData"], errors);
    config_map(new, errors);
}

pub(super) fn secret(secret: &Field<'_>, errors: &mut Errors) {
    let data = secret.get("data");
    let contents: BTreeMap<&str, Vec<u8>> = data.entries().map(|(key, value)| (key, decoded(&value))).collect();
    for (key, value) in data.entries() {
        config_key(key, &value, errors);
    }
    if contents.values().map(Vec::len).sum::<usize>() > DATA_MAX_BYTES {
        errors.too_long(data.path(), DATA_MAX_BYTES);
    }
    let required = |key: &str, errors: &mut Errors| {
        if !contents.contains_key(key) {
            errors.required(&data.key(key), "");
        }
    };
    match secret.get("type").text() {
        "kubernetes.io/service-account-token" => {
            errors.required_text(&secret.get("metadata").get("annotations").key(SERVICE_ACCOUNT_NAME));
        }
        "kubernetes.io/dockercfg" => docker_config(&data.key(".dockercfg"), &contents, ".dockercfg", errors),
        "kubernetes.io/dockerconfigjson" => {
            docker_config(&data.key(".dockerconfigjson"), &contents, ".dockerconfigjson", errors);
        }
        "kubernetes.io/basic-auth" if !contents.contains_key("username") && !contents.contains_key("password") => {
            required("username", errors);
            required("password", errors);
        }
        "kubernetes.io/ssh-auth" if contents.get("ssh-privatekey").is_none_or(Vec::is_empty) => {
            errors.required(&data.key("ssh-privatekey"), "");
        }
        "kubernetes.io/tls" => {
            required("tls.crt", errors);
            required("tls.key", errors);
        }
        _ => {}
    }
}

pub(super) fn secret_update(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    errors.immutable_text(&new.get("type"), &old.get("type"));
    stays_immutable(new, old, &["data"], errors);
    secret(new, errors);
}

fn config_key(key: &str, value: &Field<'_>, errors: &mut Errors) {
    for message in format::config_map_key(key) {
        errors.invalid_as(value.path(), key, message);
    }
}

fn decoded(value: &Field<'_>) -> Vec<u8> {
    STANDARD.decode(value.text()).unwrap_or_default()
}

/// Credentials of registries, which must be a JSON object; what it says is never repeated in a message.
fn docker_config(field: &Field<'_>, contents: &BTreeMap<&str, Vec<u8>>, key: &str, errors: &mut Errors) {
    match contents.get(key).map(|content| serde_json::from_slice::<Value>(content)) {
        None => errors.required(field, ""),
        Some(Ok(Value::Object(_) | Value::Null)) => {}
        Some(Ok(other)) => {
            let kind = match other {
                Value::Array(_) => "array",
                Value::String(_) => "string",
                Value::Bool(_) => "bool",
                _ => "number",
            };
            let wrong = format!("json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}");
            errors.invalid_as(field.path(), "<secret contents redacted>", wrong);
        }
        Some(Err(error)) if error.is_eof() => {
            errors.invalid_as(field.path(), "<secret contents redacted>", "unexpected end of JSON input");
        }
        Some(Err(_)) => errors.invalid_as(field.path(), "<secret contents redacted>", "invalid character in JSON input"),
    }
}

fn stays_immutable(new: &Field<'_>, old: &Field<'_>, fields: &[&str], errors: &mut Errors) {
    if !old.get("immutable").is_true() {
        return;
    }
    if !new.get("immutable").is_true() {
        errors.forbidden(&new.get("immutable"), IMMUTABLE);
    }
    for field in fields {
        if !same(new.get(field).value(), old.get(field).value()) {
            errors.forbidden(&new.get(field), IMMUTABLE);
        }
    }
}
