//! Rules of volumes that show the pod, tokens and other objects as files.

use std::collections::BTreeSet;

use super::super::errors::Errors;
use super::super::field::Field;
use super::super::selector::label_selector;
use super::env;
use super::volume::{key_to_path, local_path, mode};

/// Shortest life of a token.
const TOKEN_SECONDS_MIN: i64 = 10 * 60;
const CONFLICT: &str = "conflicting duplicate paths";

pub(super) fn downward_api(source: &Field<'_>, errors: &mut Errors) {
    mode(&source.get("defaultMode"), errors);
    for file in source.get("items").items() {
        downward_api_file(&file.named(source.path()), errors);
    }
}

fn downward_api_file(file: &Field<'_>, errors: &mut Errors) {
    let (path, field, resource) = (file.get("path"), file.get("fieldRef"), file.get("resourceFieldRef"));
    errors.required_text(&path);
    local_path(&path, errors);
    if field.is_set() {
        env::volume_field_ref(&field, errors);
        if resource.is_set() {
            errors.invalid_as(file.path(), "resource", "fieldRef and resourceFieldRef can not be specified simultaneously");
        }
    } else if resource.is_set() {
        env::resource_field_ref(&resource, true, errors);
    } else {
        errors.required(file, "one of fieldRef and resourceFieldRef is required");
    }
    mode(&file.get("mode"), errors);
}

pub(super) fn projected(volume: &Field<'_>, errors: &mut Errors) {
    mode(&volume.get("defaultMode"), errors);
    let mut paths = BTreeSet::new();
    for source in volume.get("sources").items() {
        let mut kinds = 0;
        for kind in ["secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle", "podCertificate"] {
            let projection = source.get(kind);
            if !projection.is_set() {
                continue;
            }
            kinds += 1;
            match kind {
                "secret" | "configMap" => keyed(volume, &projection, &mut paths, errors),
                "downwardAPI" => shown_fields(volume, &projection, &mut paths, errors),
                "serviceAccountToken" => token(volume, &projection, errors),
                "clusterTrustBundle" => trust_bundle(volume, &projection, &mut paths, errors),
                _ => {}
            }
        }
        if kinds > 1 {
            errors.forbidden(&source, "may not specify more than 1 volume type per source");
        }
    }
}

fn keyed<'a>(volume: &Field<'_>, source: &Field<'a>, paths: &mut BTreeSet<&'a str>, errors: &mut Errors) {
    let name = source.get("name");
    errors.required_text(&name);
    for item in source.get("items").items() {
        key_to_path(&item, errors);
        let path = item.get("path").text();
        if !path.is_empty() && !paths.insert(path) {
            errors.invalid_as(volume.path(), name.text(), CONFLICT);
        }
    }
}

fn shown_fields<'a>(volume: &Field<'_>, source: &Field<'a>, paths: &mut BTreeSet<&'a str>, errors: &mut Errors) {
    for file in source.get("items").items() {
        downward_api_file(&file.named(source.path()), errors);
        let path = file.get("path").text();
        if !path.is_empty() && !paths.insert(path) {
            errors.invalid_as(volume.path(), path, CONFLICT);
        }
    }
}

fn token(volume: &Field<'_>, token: &Field<'_>, errors: &mut Errors) {
    let (seconds, path) = (token.get("expirationSeconds"), token.get("path").named(volume.child("path")));
    if seconds.number() < TOKEN_SECONDS_MIN {
        errors.invalid_as(seconds.path(), seconds.number(), "may not specify a duration less than 10 minutes");
    }
    if seconds.number() > 1 << 32 {
        errors.invalid(&seconds, "may not specify a duration larger than 2^32 seconds");
    }
    errors.required_text(&path);
    local_path(&path, errors);
}

fn trust_bundle<'a>(volume: &Field<'_>, bundle: &Field<'a>, paths: &mut BTreeSet<&'a str>, errors: &mut Errors) {
    let (name, signer, selector, path) =
        (bundle.get("name"), bundle.get("signerName"), bundle.get("labelSelector"), bundle.get("path"));
    match (name.is_set(), signer.is_set()) {
        (true, true) => errors.invalid(bundle, "only one of name and signerName may be used"),
        (true, false) => {
            if name.text().is_empty() {
                errors.required(&name, "must be a valid object name");
            }
            if selector.is_set() {
                errors.invalid(&selector, "labelSelector must be unset if name is specified");
            }
        }
        (false, true) => {
            if signer.text().is_empty() {
                errors.required(&signer, "must be a valid signer name");
            }
            label_selector(&selector, errors);
        }
        (false, false) => errors.required(bundle, "either name or signerName must be specified"),
    }
    errors.required_text(&path);
    local_path(&path, errors);
    if !paths.insert(path.text()) {
        errors.invalid_as(volume.path(), path.text(), CONFLICT);
    }
}
