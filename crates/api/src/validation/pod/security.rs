//! Rules of security contexts.

use std::collections::BTreeSet;

use super::super::errors::Errors;
use super::super::field::Field;
use super::each_container;
use super::volume::descending_path;

/// Users and groups are 32-bit numbers.
const ID_MAX: i64 = 0xffff_ffff;
/// `PATH_MAX` without its terminator.
const PROFILE_MAX_BYTES: usize = 4095;
const WITHOUT_HOST_USERS: &str = "when `hostUsers` is false";
const SYSCTL_MAX_BYTES: usize = 253;
const SYSCTL: &str = r"^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";

pub(super) fn pod_security_context(spec: &Field<'_>, errors: &mut Errors) {
    let context = spec.get("securityContext");
    for field in ["fsGroup", "runAsUser", "runAsGroup"] {
        id(&context.get(field), errors);
    }
    for group in context.get("supplementalGroups").items() {
        id(&group, errors);
    }
    let shared = spec.get("shareProcessNamespace").named(context.child("shareProcessNamespace"));
    if shared.is_true() && spec.get("hostPID").is_true() {
        errors.invalid(&shared, "ShareProcessNamespace and HostPID cannot both be enabled");
    }
    sysctls(spec, &context.get("sysctls"), errors);
    enumerated(&context.get("fsGroupChangePolicy"), &["Always", "OnRootMismatch"], errors);
    seccomp_profile(&context.get("seccompProfile"), errors);
    app_armor_profile(&context.get("appArmorProfile"), errors);
    enumerated(&context.get("supplementalGroupsPolicy"), &["Merge", "Strict"], errors);
    enumerated(&context.get("seLinuxChangePolicy"), &["MountOption", "Recursive"], errors);
}

pub(super) fn security_context(context: &Field<'_>, host_users: bool, errors: &mut Errors) {
    id(&context.get("runAsUser"), errors);
    id(&context.get("runAsGroup"), errors);
    let proc_mount = context.get("procMount");
    enumerated(&proc_mount, &["Default", "Unmasked"], errors);
    if host_users && proc_mount.text() == "Unmasked" {
        errors.invalid(&proc_mount, "`hostUsers` must be false to use `Unmasked`");
    }
    seccomp_profile(&context.get("seccompProfile"), errors);
    if context.get("allowPrivilegeEscalation").flag() == Some(false) {
        if context.get("privileged").is_true() {
            errors.invalid(context, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
        }
        if context.get("capabilities").get("add").items().any(|capability| capability.text() == "CAP_SYS_ADMIN") {
            errors.invalid(context, "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN");
        }
    }
    app_armor_profile(&context.get("appArmorProfile"), errors);
}

/// A pod with users of its own cannot share other namespaces with the host.
pub(super) fn host_users(spec: &Field<'_>, errors: &mut Errors) {
    if spec.get("hostUsers").flag() != Some(false) {
        return;
    }
    for (field, reported) in [("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")] {
        if spec.get(field).is_true() {
            errors.forbidden(&spec.get(field).named(spec.child(reported)), WITHOUT_HOST_USERS);
        }
    }
    each_container(spec, |container| {
        let devices = container.get("volumeDevices");
        if !devices.is_empty() {
            errors.forbidden(&devices, WITHOUT_HOST_USERS);
        }
    });
}

fn id(id: &Field<'_>, errors: &mut Errors) {
    if id.is_set() {
        errors.in_range(id, 0, ID_MAX);
    }
}

fn enumerated(field: &Field<'_>, values: &[&str], errors: &mut Errors) {
    if field.is_set() {
        errors.one_of(field, values);
    }
}

fn sysctls(spec: &Field<'_>, sysctls: &Field<'_>, errors: &mut Errors) {
    let mut names = BTreeSet::new();
    for sysctl in sysctls.items() {
        let name = sysctl.get("name");
        if name.text().is_empty() {
            errors.required(&name, "");
        } else if !is_sysctl(name.text()) {
            let wrong = format!("must have at most {SYSCTL_MAX_BYTES} characters and match regex {SYSCTL}");
            errors.invalid(&name, wrong);
        } else if names.contains(name.text()) {
            errors.duplicate(&name);
        }
        for (host, namespaced) in [("hostNetwork", is_network as fn(&str) -> bool), ("hostIPC", is_ipc)] {
            if spec.get(host).is_true() && namespaced(&name.text().replace('/', ".")) {
                errors.invalid(&name, format!("may not be specified when '{host}' is true"));
            }
        }
        names.insert(name.text());
    }
}

fn is_sysctl(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let segment = |segment: &str| {
        let bytes = segment.as_bytes();
        bytes.first().is_some_and(|byte| inner(*byte))
            && bytes.last().is_some_and(|byte| inner(*byte))
            && bytes.iter().all(|byte| inner(*byte) || b"-_".contains(byte))
    };
    name.len() <= SYSCTL_MAX_BYTES && name.split(['.', '/']).all(segment)
}

fn is_network(sysctl: &str) -> bool {
    sysctl.starts_with("net.")
}

fn is_ipc(sysctl: &str) -> bool {
    sysctl == "kernel.sem" || ["kernel.shm", "kernel.msg", "fs.mqueue."].iter().any(|prefix| sysctl.starts_with(prefix))
}

fn seccomp_profile(profile: &Field<'_>, errors: &mut Errors) {
    if !profile.is_set() {
        return;
    }
    let (kind, localhost) = (profile.get("type"), profile.get("localhostProfile"));
    match kind.text() {
        "" => errors.required(&kind, "type is required when seccompProfile is set"),
        _ => errors.one_of(&kind, &["Localhost", "RuntimeDefault", "Unconfined"]),
    }
    match (kind.text() == "Localhost", localhost.is_set()) {
        (true, false) => errors.required(&localhost, "must be set when seccomp type is Localhost"),
        (true, true) => descending_path(&localhost, errors),
        (false, true) => {
            errors.invalid_as(localhost.path(), profile.value().clone(), "can only be set when seccomp type is Localhost")
        }
        (false, false) => {}
    }
}

fn app_armor_profile(profile: &Field<'_>, errors: &mut Errors) {
    const MISSING: &str = "must be set when AppArmor type is Localhost";
    if !profile.is_set() {
        return;
    }
    let (kind, localhost) = (profile.get("type"), profile.get("localhostProfile"));
    match kind.text() {
        "Localhost" => {
            if localhost.text().trim() != localhost.text() {
                errors.invalid(&localhost, "must not be padded with whitespace");
            } else if localhost.text().is_empty() {
                errors.required(&localhost, MISSING);
            }
            if localhost.text().len() > PROFILE_MAX_BYTES {
                errors.too_long(localhost.path(), PROFILE_MAX_BYTES);
            }
        }
        "RuntimeDefault" | "Unconfined" => {
            if localhost.is_set() {
                errors.invalid(&localhost, "can only be set when AppArmor type is Localhost");
            }
        }
        "" => errors.required(&kind, "type is required when appArmorProfile is set"),
        _ => errors.unsupported(&kind, &["Localhost", "RuntimeDefault", "Unconfined"]),
    }
}
