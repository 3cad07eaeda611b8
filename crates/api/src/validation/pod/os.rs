//! Rules of what a pod for one operating system may ask for.

use super::super::errors::Errors;
use super::super::field::Field;
use super::each_container;

/// What only Linux has, in the security context of a pod; the flag tells what upstream keeps there and the API in the spec.
const LINUX_POD: &[(&str, bool)] = &[
    ("appArmorProfile", false),
    ("seLinuxOptions", false),
    ("hostUsers", true),
    ("hostPID", true),
    ("hostIPC", true),
    ("seccompProfile", false),
    ("fsGroup", false),
    ("fsGroupChangePolicy", false),
    ("sysctls", false),
    ("shareProcessNamespace", true),
    ("runAsUser", false),
    ("runAsGroup", false),
    ("supplementalGroups", false),
    ("supplementalGroupsPolicy", false),
    ("seLinuxChangePolicy", false),
];
/// What only Linux has, in the security context of a container.
const LINUX_CONTAINER: &[&str] = &[
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
];

pub(super) fn os(spec: &Field<'_>, errors: &mut Errors) {
    let os = spec.get("os");
    if !os.is_set() {
        return;
    }
    match os.get("name").text() {
        "" => errors.required(&os.get("name"), "cannot be empty"),
        "linux" => linux(spec, errors),
        "windows" => windows(spec, errors),
        _ => errors.one_of(&os.get("name").named(os.path()), &["linux", "windows"]),
    }
}

fn linux(spec: &Field<'_>, errors: &mut Errors) {
    let mut check = |owner: &Field<'_>| {
        let options = owner.get("securityContext").get("windowsOptions");
        if options.is_set() {
            errors.forbidden(&options, "windows options cannot be set for a linux pod");
        }
    };
    check(spec);
    each_container(spec, check);
}

fn windows(spec: &Field<'_>, errors: &mut Errors) {
    const REFUSED: &str = "cannot be set for a windows pod";
    let context = spec.get("securityContext");
    for (field, in_spec) in LINUX_POD {
        let value = if *in_spec { spec.get(field) } else { context.get(field) };
        // Upstream does not tell these from their zero.
        let unset = match *field {
            "hostPID" | "hostIPC" => !value.is_true(),
            "sysctls" => value.is_empty(),
            _ => !value.is_set(),
        };
        if !unset {
            errors.forbidden(&value, REFUSED);
        }
    }
    each_container(spec, |container| {
        let context = container.get("securityContext");
        for field in LINUX_CONTAINER.iter().filter(|field| context.has(field)) {
            errors.forbidden(&context.get(field), REFUSED);
        }
    });
}
