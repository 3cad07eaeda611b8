//! Rules of containers: regular, init and ephemeral.

use std::collections::BTreeSet;

use super::super::errors::Errors;
use super::super::field::Field;
use super::super::format;
use super::{Pod, env, mounts, probe, resources, security};

const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
const PULL_POLICIES: &[&str] = &["Always", "IfNotPresent", "Never"];
const RESTART_POLICIES: &[&str] = &["Always", "Never", "OnFailure"];
const PROBES: [&str; 3] = ["livenessProbe", "readinessProbe", "startupProbe"];

const RESTART_RULES_MAX: usize = 20;
const EXIT_CODES_MAX: usize = 255;

/// What an ephemeral container may not have, since it comes and goes while the pod serves.
const NOT_EPHEMERAL: &[&str] = &[
    "ports",
    "resources",
    "resizePolicy",
    "restartPolicy",
    "restartPolicyRules",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
];

pub(super) fn containers(containers: &Field<'_>, pod: &Pod<'_>, errors: &mut Errors) {
    if containers.is_empty() {
        return errors.required(containers, "");
    }
    let mut names = BTreeSet::new();
    for container in containers.items() {
        common(&container, pod, errors);
        let name = container.get("name");
        if !names.insert(name.text()) {
            errors.duplicate_as(name.path(), name.text(), "");
        }
        lifecycle_and_probes(&container, pod, errors);
        restart_policy(&container, errors);
    }
    unique_host_ports(containers.items(), errors);
}

pub(super) fn init_containers(spec: &Field<'_>, pod: &Pod<'_>, errors: &mut Errors) {
    const NOT_INIT: &str = "may not be set for init containers without restartPolicy=Always";
    let mut names = names(&spec.get("containers"));
    for container in spec.get("initContainers").items() {
        common(&container, pod, errors);
        restart_policy(&container, errors);
        let name = container.get("name");
        if !name.text().is_empty() && !names.insert(name.text()) {
            errors.duplicate(&name);
        }
        unique_host_ports([container.clone()].into_iter(), errors);
        if is_sidecar(&container) {
            lifecycle_and_probes(&container, pod, errors);
            continue;
        }
        for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
            if container.has(field) {
                errors.forbidden(&container.get(field), NOT_INIT);
            }
        }
        for policy in container.get("resizePolicy").items().map(|policy| policy.get("restartPolicy")) {
            if policy.text() == "RestartContainer" {
                errors.invalid(&policy, "must not be set to 'RestartContainer' for non-sidecar initContainers");
            }
        }
    }
}

pub(super) fn ephemeral_containers(spec: &Field<'_>, pod: &Pod<'_>, errors: &mut Errors) {
    const REFUSED: &str = "cannot be set for an Ephemeral Container";
    let mut others = names(&spec.get("containers"));
    others.extend(names(&spec.get("initContainers")));
    let mut all = others.clone();
    for container in spec.get("ephemeralContainers").items() {
        common(&container, pod, errors);
        image_without_spaces(&container.get("image"), errors);
        let (name, target) = (container.get("name"), container.get("targetContainerName"));
        if !all.insert(name.text()) {
            errors.duplicate(&name);
        }
        if !target.text().is_empty() && !others.contains(target.text()) {
            errors.not_found(&target, "");
        }
        for field in NOT_EPHEMERAL {
            let value = container.get(field);
            if value.is_set() && !(matches!(*field, "resources" | "ports" | "resizePolicy") && value.is_empty()) {
                errors.forbidden(&value, REFUSED);
            }
        }
        for mount in container.get("volumeMounts").items() {
            for field in ["subPath", "subPathExpr"] {
                if !mount.get(field).text().is_empty() {
                    errors.forbidden(&mount.get(field), REFUSED);
                }
            }
        }
    }
}

/// Whether an init container runs for the pod's whole life.
pub(super) fn is_sidecar(container: &Field<'_>) -> bool {
    container.get("restartPolicy").text() == "Always"
}

/// An image that a kubelet can look up.
pub(super) fn image_without_spaces(image: &Field<'_>, errors: &mut Errors) {
    if image.text().trim() != image.text() {
        errors.invalid(image, "must not have leading or trailing whitespace");
    }
}

/// The policy that an image is pulled by.
pub(super) fn pull_policy(policy: &Field<'_>, errors: &mut Errors) {
    errors.required_one_of(policy, PULL_POLICIES);
}

fn names<'a>(containers: &Field<'a>) -> BTreeSet<&'a str> {
    containers.items().map(|container| container.get("name").text()).collect()
}

fn common(container: &Field<'_>, pod: &Pod<'_>, errors: &mut Errors) {
    errors.required_format(&container.get("name"), format::dns1123_label);
    errors.required_text(&container.get("image"));
    errors.required_one_of(&container.get("terminationMessagePolicy"), &["File", "FallbackToLogsOnError"]);
    ports(&container.get("ports"), errors);
    env::env(&container.get("env"), errors);
    env::env_from(&container.get("envFrom"), errors);
    mounts::volume_mounts(container, pod, errors);
    mounts::volume_devices(container, pod, errors);
    pull_policy(&container.get("imagePullPolicy"), errors);
    resources::container_resources(&container.get("resources"), &pod.claims, errors);
    resize_policy(&container.get("resizePolicy"), pod.restart_policy, errors);
    security::security_context(&container.get("securityContext"), pod.host_users, errors);
}

fn lifecycle_and_probes(container: &Field<'_>, pod: &Pod<'_>, errors: &mut Errors) {
    probe::lifecycle(&container.get("lifecycle"), pod.grace_period_seconds, pod.os, errors);
    for field in PROBES {
        probe::probe(&container.get(field), field, errors);
    }
}

/// A container may have a restart policy of its own, and rules that depend on how it ended.
fn restart_policy(container: &Field<'_>, errors: &mut Errors) {
    let (policy, rules) = (container.get("restartPolicy"), container.get("restartPolicyRules"));
    if policy.is_set() {
        errors.one_of(&policy, RESTART_POLICIES);
    } else if !rules.is_empty() {
        errors.required(&policy, "must specify restartPolicy when restart rules are used");
    }
    if rules.len() > RESTART_RULES_MAX {
        errors.too_many(&rules, RESTART_RULES_MAX);
    }
    for rule in rules.items() {
        let codes = rule.get("exitCodes");
        errors.one_of(&rule.get("action"), &["Restart", "RestartAllContainers"]);
        if !codes.is_set() {
            errors.required(&codes, "must be specified");
            continue;
        }
        errors.one_of(&codes.get("operator"), &["In", "NotIn"]);
        if codes.get("values").len() > EXIT_CODES_MAX {
            errors.too_many(&codes.get("values"), EXIT_CODES_MAX);
        }
    }
}

fn ports(ports: &Field<'_>, errors: &mut Errors) {
    let mut names = BTreeSet::new();
    for port in ports.items() {
        let (name, inside, host) = (port.get("name"), port.get("containerPort"), port.get("hostPort"));
        if !name.text().is_empty() {
            if !format::port_name(name.text()).is_empty() {
                errors.format(&name, format::port_name);
            } else if !names.insert(name.text()) {
                errors.duplicate(&name);
            }
        }
        if inside.number() == 0 {
            errors.required(&inside, "");
        } else {
            errors.in_range(&inside, 1, 65535);
        }
        if host.number() != 0 {
            errors.in_range(&host, 1, 65535);
        }
        errors.required_one_of(&port.get("protocol"), PROTOCOLS);
    }
}

fn unique_host_ports<'a>(containers: impl Iterator<Item = Field<'a>>, errors: &mut Errors) {
    let mut taken = BTreeSet::new();
    for container in containers {
        for port in container.get("ports").items() {
            let host = port.get("hostPort");
            if host.number() == 0 {
                continue;
            }
            let key = format!("{}/{}/{}", port.get("protocol").text(), port.get("hostIP").text(), host.number());
            if !taken.insert(key.clone()) {
                errors.duplicate_as(host.path(), key, "");
            }
        }
    }
}

fn resize_policy(policies: &Field<'_>, pod_restart_policy: &str, errors: &mut Errors) {
    let mut resources = BTreeSet::new();
    for policy in policies.items() {
        let (resource, restart) = (policy.get("resourceName"), policy.get("restartPolicy"));
        if !resources.insert(resource.text()) {
            errors.duplicate_as(policy.path(), resource.text(), "");
        }
        errors.required_one_of(&resource.named(policies.path()), &["cpu", "memory"]);
        errors.required_one_of(&restart.named(policies.path()), &["NotRequired", "RestartContainer"]);
        if pod_restart_policy == "Never" && restart.text() != "NotRequired" {
            errors.invalid_as(policies.path(), restart.text(), "must be 'NotRequired' when pod `restartPolicy` is 'Never'");
        }
    }
}
