//! Annotations that named seccomp and AppArmor profiles before there were fields for them.

use super::super::errors::Errors;
use super::super::field::Field;
use super::each_container;

const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
const APP_ARMOR_CONTAINER: &str = "container.apparmor.security.beta.kubernetes.io/";

/// The annotations alone.
pub(super) fn annotations(annotations: &Field<'_>, spec: &Field<'_>, errors: &mut Errors) {
    let pod = annotations.key(SECCOMP_POD);
    if pod.is_set() {
        seccomp_profile(&pod.named(annotations.child(SECCOMP_POD)), errors);
    }
    for (key, profile) in annotations.entries() {
        if key.starts_with(SECCOMP_CONTAINER) {
            seccomp_profile(&profile.named(annotations.child(key)), errors);
        }
    }
    for (key, profile) in annotations.entries() {
        let Some(container) = key.strip_prefix(APP_ARMOR_CONTAINER) else { continue };
        let mut found = false;
        each_container(spec, |each| found |= each.get("name").text() == container);
        if !found {
            errors.invalid_as(profile.path(), container, "container not found");
        }
        if !matches!(profile.text(), "" | "runtime/default" | "unconfined") && !profile.text().starts_with("localhost/") {
            errors.invalid(&profile, format!("invalid AppArmor profile name: \"{}\"", profile.text()));
        }
    }
}

fn seccomp_profile(profile: &Field<'_>, errors: &mut Errors) {
    match profile.text() {
        "runtime/default" | "docker/default" | "unconfined" => {}
        text if text.starts_with("localhost/") => {}
        _ => errors.invalid(profile, "must be a valid seccomp profile"),
    }
}

/// Where there are both an annotation and a field, they must say the same.
pub(super) fn fields_match_annotations(metadata: &Field<'_>, spec: &Field<'_>, errors: &mut Errors) {
    let annotations = metadata.get("annotations");
    let pod = spec.get("securityContext");
    matching("seccomp", &pod.get("seccompProfile"), &annotations.key(SECCOMP_POD), errors);
    each_container(spec, |container| {
        let key = format!("{SECCOMP_CONTAINER}{}", container.get("name").text());
        matching("seccomp", &container.get("securityContext").get("seccompProfile"), &annotations.key(&key), errors);
    });
    each_container(spec, |container| {
        let key = format!("{APP_ARMOR_CONTAINER}{}", container.get("name").text());
        let own = container.get("securityContext").get("appArmorProfile");
        let profile = if own.is_set() { own.clone() } else { pod.get("appArmorProfile").named(own.path()) };
        matching("apparmor", &profile, &annotations.key(&key), errors);
    });
}

fn matching(what: &str, profile: &Field<'_>, annotation: &Field<'_>, errors: &mut Errors) {
    if !profile.is_set() || !annotation.is_set() {
        return;
    }
    let (kind, localhost) = (profile.get("type"), profile.get("localhostProfile"));
    let same_kind = match kind.text() {
        "Unconfined" => annotation.text() == "unconfined",
        "RuntimeDefault" => matches!(annotation.text(), "runtime/default" | "docker/default"),
        "Localhost" => match annotation.text().strip_prefix("localhost/") {
            Some(name) if name != localhost.text() => {
                return errors.forbidden(&localhost, format!("{what} profile in annotation and field must match"));
            }
            name => name.is_some(),
        },
        _ => true,
    };
    if !same_kind {
        errors.forbidden(&kind, format!("{what} type in annotation and field must match"));
    }
}
