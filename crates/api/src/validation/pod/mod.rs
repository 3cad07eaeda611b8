//! Rules of pods and pod templates.

mod container;
mod env;
mod mounts;
mod os;
pub(super) mod probe;
mod projected;
pub(super) mod resources;
mod scheduling;
mod seccomp;
mod security;
pub(super) mod source;
mod status;
mod subresource;
mod update;
mod volume;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::errors::Errors;
use super::field::Field;
use super::{address, format, metadata};

pub(super) use scheduling::{node_selector, taint_effect, tolerations};
pub(super) use status::status;
pub(super) use subresource::{ephemeral_containers, resize};
pub(super) use update::update;

const MIRROR: &str = "kubernetes.io/config.mirror";
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// What the rules of one part of a pod need to know of its other parts.
#[derive(Debug)]
struct Pod<'a> {
    /// Volumes without a mistake, by name.
    volumes: BTreeMap<&'a str, &'a Value>,
    /// Names of the resource claims.
    claims: BTreeSet<&'a str>,
    grace_period_seconds: Option<i64>,
    restart_policy: &'a str,
    host_users: bool,
    /// Name of the operating system.
    os: Option<&'a str>,
}

pub(super) fn create(pod: &Field<'_>, errors: &mut Errors) {
    pod_only(pod, errors);
    let spec = pod.get("spec");
    if !spec.get("ephemeralContainers").is_empty() {
        errors.forbidden(&spec.get("ephemeralContainers"), "cannot be set on create");
    }
    if !spec.get("nodeName").text().is_empty() && !spec.get("schedulingGates").is_empty() {
        errors.forbidden(&spec.get("nodeName"), "cannot be set until all schedulingGates have been cleared");
    }
    seccomp::fields_match_annotations(&pod.get("metadata"), &spec, errors);
}

/// What holds for a pod at any time, but not for a template.
fn pod_only(pod: &Field<'_>, errors: &mut Errors) {
    let (metadata, spec) = (pod.get("metadata"), pod.get("spec"));
    annotations(&metadata.get("annotations"), &spec, errors);
    pod_spec(&spec, metadata.get("name").text(), true, errors);
    if spec.get("serviceAccountName").text().is_empty() {
        for volume in spec.get("volumes").items() {
            for source in volume.get("projected").get("sources").items() {
                let token = source.get("serviceAccountToken");
                if token.is_set() {
                    errors.forbidden(&token, "must not be specified when serviceAccountName is not set");
                }
            }
        }
    }
    for field in ["containers", "initContainers"] {
        for container in spec.get(field).items() {
            container::image_without_spaces(&container.get("image"), errors);
        }
    }
}

/// A pod template. Upstream reports labels and annotations without the `metadata` that they are in.
pub(super) fn template(template: &Field<'_>, errors: &mut Errors) {
    let (metadata, spec) = (template.get("metadata"), template.get("spec"));
    template_metadata(template, errors);
    pod_spec(&spec, "", false, errors);
    seccomp::fields_match_annotations(&metadata, &spec, errors);
    if !spec.get("ephemeralContainers").is_empty() {
        errors.forbidden(&spec.get("ephemeralContainers"), "ephemeral containers not allowed in pod template");
    }
}

/// Labels and annotations of a pod template.
pub(super) fn template_metadata(template: &Field<'_>, errors: &mut Errors) {
    let metadata = template.get("metadata");
    let annotated = metadata.get("annotations").named(template.child("annotations"));
    metadata::labels(&metadata.get("labels").named(template.child("labels")), errors);
    metadata::annotations(&annotated, errors);
    annotations(&annotated, &template.get("spec"), errors);
}

/// A template of a workload whose pods are meant to run for ever.
pub(super) fn runs_for_ever(template: &Field<'_>, kind: &str, errors: &mut Errors) {
    let spec = template.get("spec");
    let (restart_policy, deadline) = (spec.get("restartPolicy"), spec.get("activeDeadlineSeconds"));
    errors.one_of(&restart_policy, &["Always"]);
    if deadline.is_set() {
        errors.forbidden(&deadline, format!("activeDeadlineSeconds in {kind} is not Supported"));
    }
}

/// Annotations that mean something on a pod.
fn annotations(annotations: &Field<'_>, spec: &Field<'_>, errors: &mut Errors) {
    let (mirror, cost) = (annotations.key(MIRROR), annotations.key(DELETION_COST));
    if mirror.is_set() && spec.get("nodeName").text().is_empty() {
        errors.invalid(&mirror, "must set spec.nodeName if mirror pod annotation is set");
    }
    if cost.is_set() && !is_deletion_cost(cost.text()) {
        errors.invalid(&cost, "must be a 32bit integer");
    }
    seccomp::annotations(annotations, spec, errors);
}

/// A 32-bit integer as Go writes it, without `+` and leading zeros.
fn is_deletion_cost(text: &str) -> bool {
    text.parse::<i32>().is_ok_and(|cost| cost.to_string() == text)
}

fn pod_spec(spec: &Field<'_>, pod_name: &str, is_pod: bool, errors: &mut Errors) {
    let grace_period = spec.get("terminationGracePeriodSeconds");
    if !grace_period.is_set() {
        errors.required(&grace_period, "");
    }
    let claims = spec.get("resourceClaims");
    let pod = Pod {
        volumes: volume::volumes(&spec.get("volumes"), pod_name, is_pod, errors),
        claims: claims.items().map(|claim| claim.get("name").text()).filter(|name| !name.is_empty()).collect(),
        grace_period_seconds: grace_period.int(),
        restart_policy: spec.get("restartPolicy").text(),
        host_users: spec.get("hostUsers").flag().unwrap_or(true),
        os: spec.has("os").then(|| spec.get("os").get("name").text()),
    };
    resource_claims(&claims, errors);
    container::containers(&spec.get("containers"), &pod, errors);
    container::init_containers(spec, &pod, errors);
    container::ephemeral_containers(spec, &pod, errors);
    resources::pod_resources(spec, &pod.claims, errors);
    host_network_ports(spec, is_pod, errors);
    errors.required_one_of(&spec.get("restartPolicy"), &["Always", "OnFailure", "Never"]);
    errors.required_one_of(&spec.get("dnsPolicy"), &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"]);
    metadata::labels(&spec.get("nodeSelector"), errors);
    security::pod_security_context(spec, errors);
    scheduling::affinity(&spec.get("affinity"), errors);
    dns_config(&spec.get("dnsConfig"), spec.get("dnsPolicy").text(), errors);
    for gate in spec.get("readinessGates").items() {
        errors.format(&gate.get("conditionType"), format::qualified_name);
    }
    scheduling::scheduling_gates(&spec.get("schedulingGates"), errors);
    scheduling::topology_spread(&spec.get("topologySpreadConstraints"), errors);
    security::host_users(spec, errors);
    hostname_override(spec, errors);
    names(spec, errors);
    env::files_of_volumes(spec, errors);
}

fn hostname_override(spec: &Field<'_>, errors: &mut Errors) {
    const HOSTNAME_MAX: usize = 64;
    let name = spec.get("hostnameOverride");
    if !name.is_set() {
        return;
    }
    for other in ["setHostnameAsFQDN", "hostNetwork"].iter().filter(|other| spec.get(other).is_true()) {
        errors.forbidden(&name, format!("may not be specified when {other} is true"));
    }
    if name.text().len() > HOSTNAME_MAX {
        errors.too_long(name.path(), HOSTNAME_MAX);
    }
    errors.format(&name, format::dns1123_subdomain);
}

/// The rest of the spec: fields that stand for themselves.
fn names(spec: &Field<'_>, errors: &mut Errors) {
    errors.optional_format(&spec.get("serviceAccountName"), format::dns1123_subdomain);
    errors.optional_format(&spec.get("nodeName"), format::dns1123_subdomain);
    let deadline = spec.get("activeDeadlineSeconds");
    if deadline.is_set() {
        errors.in_range(&deadline, 1, i64::from(i32::MAX));
    }
    errors.optional_format(&spec.get("hostname"), format::dns1123_label);
    errors.optional_format(&spec.get("subdomain"), format::dns1123_label);
    scheduling::tolerations(&spec.get("tolerations"), errors);
    for alias in spec.get("hostAliases").items() {
        address::valid_ip(&alias.get("ip"), errors);
        for hostname in alias.get("hostnames").items() {
            errors.format(&hostname, format::dns1123_subdomain);
        }
    }
    errors.optional_format(&spec.get("priorityClassName"), format::dns1123_subdomain);
    let (runtime_class, preemption) = (spec.get("runtimeClassName"), spec.get("preemptionPolicy"));
    if runtime_class.is_set() {
        errors.format(&runtime_class, format::dns1123_subdomain);
    }
    if preemption.is_set() {
        errors.required_one_of(&preemption, &["PreemptLowerPriority", "Never"]);
    }
    resources::overhead(&spec.get("overhead"), errors);
    os::os(spec, errors);
}

fn resource_claims(claims: &Field<'_>, errors: &mut Errors) {
    let mut names = BTreeSet::new();
    for claim in claims.items() {
        let (name, existing, template) =
            (claim.get("name"), claim.get("resourceClaimName"), claim.get("resourceClaimTemplateName"));
        if name.text().is_empty() {
            errors.required(&name, "");
        } else if names.insert(name.text()) {
            errors.format(&name, format::dns1123_label);
        } else {
            errors.duplicate(&name);
        }
        match (existing.is_set(), template.is_set()) {
            (true, true) => {
                errors.invalid(&claim, "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified");
            }
            (false, false) => errors.invalid(&claim, "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"),
            _ => {}
        }
        for reference in [existing, template].iter().filter(|reference| reference.is_set()) {
            errors.format(reference, format::dns1123_subdomain);
        }
    }
}

/// With the host's network, a port of the container is a port of the host.
fn host_network_ports(spec: &Field<'_>, is_pod: bool, errors: &mut Errors) {
    if !spec.get("hostNetwork").is_true() {
        return;
    }
    for container in spec.get("containers").items() {
        for port in container.get("ports").items() {
            let (host, inside) = (port.get("hostPort"), port.get("containerPort").number());
            if (is_pod || host.number() != 0) && host.number() != inside {
                errors.invalid_as(host.path(), host.number(), "must match `containerPort` when `hostNetwork` is true");
            }
        }
    }
}

/// Limits are those of the C library's resolver.
fn dns_config(config: &Field<'_>, policy: &str, errors: &mut Errors) {
    const MAX_NAMESERVERS: usize = 3;
    const MAX_SEARCHES: usize = 32;
    const MAX_SEARCH_CHARS: usize = 2048;
    let (nameservers, searches) = (config.get("nameservers"), config.get("searches"));
    if policy == "None" && !config.is_set() {
        return errors.required(config, "must provide `dnsConfig` when `dnsPolicy` is None");
    }
    if policy == "None" && nameservers.is_empty() {
        return errors.required(&nameservers, "must provide at least one DNS nameserver when `dnsPolicy` is None");
    }
    if nameservers.len() > MAX_NAMESERVERS {
        errors.invalid(&nameservers, format!("must not have more than {MAX_NAMESERVERS} nameservers"));
    }
    for nameserver in nameservers.items() {
        address::valid_ip(&nameserver, errors);
    }
    if searches.len() > MAX_SEARCHES {
        errors.invalid(&searches, format!("must not have more than {MAX_SEARCHES} search paths"));
    }
    let chars: usize = searches.items().map(|search| search.text().len() + 1).sum();
    if chars > MAX_SEARCH_CHARS + 1 {
        errors.invalid(
            &searches,
            format!("must not have more than {MAX_SEARCH_CHARS} characters (including spaces) in the search list"),
        );
    }
    for search in searches.items().filter(|search| search.text() != ".") {
        let text = search.text().strip_suffix('.').unwrap_or(search.text());
        for message in format::dns1123_subdomain_with_underscore(text) {
            errors.invalid_as(search.path(), text, message);
        }
    }
    for option in config.get("options").items().filter(|option| option.get("name").text().is_empty()) {
        errors.required(&option, "must not be empty");
    }
}

/// Calls `visit` on every container of a pod: init, regular, ephemeral.
pub(super) fn each_container<'a>(spec: &Field<'a>, mut visit: impl FnMut(&Field<'a>)) {
    for field in ["initContainers", "containers", "ephemeralContainers"] {
        spec.get(field).items().for_each(|container| visit(&container));
    }
}
