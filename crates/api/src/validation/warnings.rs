//! Advice on objects that are allowed all the same: what a `Warning:` header says of them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::error::quoted;
use super::field::Field;
use super::pod::{each_container, resources};
use super::{address, format};

const TOPOLOGY_HINTS: &str = "service.kubernetes.io/topology-aware-hints";
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
const APP_ARMOR_CONTAINER: &str = "container.apparmor.security.beta.kubernetes.io/";

const ANNOTATIONS: &[(&str, &str)] = &[
    ("scheduler.alpha.kubernetes.io/critical-pod", "non-functional in v1.16+; use the \"priorityClassName\" field instead"),
    ("security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
    ("security.alpha.kubernetes.io/unsafe-sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
];

const VOLUMES: &[(&str, &str, &str)] = &[
    ("photonPersistentDisk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("gitRepo", "gitRepo", "deprecated in v1.11"),
    ("scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

const NODE_LABELS: &[(&str, &str)] = &[
    ("beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"),
    ("beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"),
    ("failure-domain.beta.kubernetes.io/region", "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead"),
    ("failure-domain.beta.kubernetes.io/zone", "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"),
    ("beta.kubernetes.io/instance-type", "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead"),
];

/// `Warning:` headers for an object that is otherwise fine, as upstream words them.
pub fn warnings(group: &str, kind: &str, object: &Value) -> Vec<String> {
    let object = Field::root(object);
    let mut found = Warnings::default();
    match (group, kind) {
        ("", "Pod") => found.pod(&object, false),
        ("", "PodTemplate") => found.pod(&object.get("template"), true),
        ("", "ReplicationController") | ("apps", "Deployment" | "ReplicaSet" | "DaemonSet") => {
            found.pod(&object.get("spec").get("template"), true);
        }
        ("apps", "StatefulSet") => {
            found.pod(&object.get("spec").get("template"), true);
            for claim in object.get("spec").get("volumeClaimTemplates").items() {
                found.claim(&claim.get("spec"));
            }
            found.below_zero(&object.get("spec").get("revisionHistoryLimit"));
        }
        ("", "Service") => found.service(&object),
        ("", "PersistentVolumeClaim") => found.claim(&object.get("spec")),
        ("", "PersistentVolume") => found.persistent_volume(&object),
        _ => {}
    }
    found.0
}

/// The same for a new object, whose name can still be chosen better.
pub fn creation_warnings(group: &str, kind: &str, object: &Value) -> Vec<String> {
    let what = match (group, kind) {
        ("", "Pod") => "this is used in the Pod's hostname",
        ("apps", "Deployment" | "ReplicaSet" | "DaemonSet") | ("", "ReplicationController") => {
            "this is used in Pod names and hostnames"
        }
        _ => return warnings(group, kind, object),
    };
    let wrong = format::dns1123_label(object["metadata"]["name"].as_str().unwrap_or_default());
    let mut found = warnings(group, kind, object);
    if !wrong.is_empty() {
        let wrong = wrong.join(" ");
        let warning =
            format!("metadata.name: {what}, which can result in surprising behavior; a DNS label is recommended: [{wrong}]");
        found.insert(0, warning);
    }
    found
}

#[derive(Default)]
struct Warnings(Vec<String>);

impl Warnings {
    fn add(&mut self, text: impl Into<String>) {
        self.0.push(text.into());
    }

    fn at(&mut self, path: &str, text: impl std::fmt::Display) {
        self.add(format!("{path}: {text}"));
    }

    fn pod(&mut self, pod: &Field<'_>, is_template: bool) {
        let (metadata, spec) = (pod.get("metadata"), pod.get("spec"));
        let annotations = metadata.get("annotations");
        self.node_labels(&spec);
        for (key, text) in ANNOTATIONS {
            if annotations.has(key) {
                self.at(annotations.key(key).path(), text);
            }
        }
        self.volumes(&spec);
        self.repeated(&spec.get("hostAliases"), "ip", "duplicate ip");
        self.repeated(&spec.get("imagePullSecrets"), "name", "duplicate name");
        for secret in spec.get("imagePullSecrets").items().filter(|secret| secret.get("name").text().is_empty()) {
            self.at(secret.get("name").path(), "invalid empty name \"\"");
        }
        self.fractions(&spec.get("overhead"));
        let seccomp = annotations.key(SECCOMP_POD);
        if seccomp.is_set() && !spec.get("securityContext").has("seccompProfile") {
            self.at(seccomp.path(), "non-functional in v1.27+; use the \"seccompProfile\" field instead");
        }
        let app_armor = is_template && !spec.get("securityContext").has("appArmorProfile");
        each_container(&spec, |container| self.container(container, &annotations, app_armor));
        self.ports(&spec);
        let grace_period = spec.get("terminationGracePeriodSeconds");
        if grace_period.number() < 0 {
            self.at(grace_period.path(), "must be >= 0; negative values are invalid and will be treated as 1");
        }
        self.pod_affinity(&spec.get("affinity"));
    }

    fn node_labels(&mut self, spec: &Field<'_>) {
        let deprecated = |key: &str| NODE_LABELS.iter().find(|(label, _)| *label == key).map(|(_, text)| *text);
        for (key, value) in spec.get("nodeSelector").entries() {
            if let Some(text) = deprecated(key) {
                self.at(value.path(), text);
            }
        }
        let affinity = spec.get("affinity").get("nodeAffinity");
        let required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution").get("nodeSelectorTerms");
        let preferred = affinity.get("preferredDuringSchedulingIgnoredDuringExecution");
        let terms = required.items().chain(preferred.items().map(|term| term.get("preference")).collect::<Vec<_>>());
        for term in terms {
            for requirement in term.get("matchExpressions").items() {
                let key = requirement.get("key");
                if let Some(text) = deprecated(key.text()) {
                    self.at(key.path(), format!("{} is {text}", key.text()));
                }
            }
        }
        for constraint in spec.get("topologySpreadConstraints").items() {
            let key = constraint.get("topologyKey");
            if let Some(text) = deprecated(key.text()) {
                self.at(key.path(), format!("{} is {text}", key.text()));
            }
            self.null_selector(&constraint.get("labelSelector"));
        }
    }

    fn null_selector(&mut self, selector: &Field<'_>) {
        if !selector.is_set() {
            self.at(selector.path(), "a null labelSelector results in matching no pod");
        }
    }

    fn pod_affinity(&mut self, affinity: &Field<'_>) {
        for field in ["podAffinity", "podAntiAffinity"] {
            let pods = affinity.get(field);
            for term in pods.get("requiredDuringSchedulingIgnoredDuringExecution").items() {
                self.null_selector(&term.get("labelSelector"));
            }
            for term in pods.get("preferredDuringSchedulingIgnoredDuringExecution").items() {
                self.null_selector(&term.get("podAffinityTerm").get("labelSelector"));
            }
        }
    }

    fn volumes(&mut self, spec: &Field<'_>) {
        let volumes = spec.get("volumes");
        for volume in volumes.items() {
            for (field, reported, text) in VOLUMES {
                if volume.has(field) {
                    self.at(&volume.child(reported), text);
                }
            }
            let claim = volume.get("ephemeral").get("volumeClaimTemplate").get("spec");
            if claim.is_set() {
                self.claim(&claim);
            }
        }
    }

    fn repeated(&mut self, list: &Field<'_>, field: &str, what: &str) {
        let mut seen = BTreeSet::new();
        for item in list.items() {
            let value = item.get(field);
            if !seen.insert(value.text()) {
                self.at(value.path(), format!("{what} {}", quoted(value.text())));
            }
        }
    }

    /// Memory comes in whole bytes: a suffix `m` is mostly a slip for `M`.
    fn fractions(&mut self, list: &Field<'_>) {
        for name in ["memory", "ephemeral-storage"] {
            let amount = list.key(name);
            if let Some(quantity) = resources::quantity(&amount).filter(|quantity| quantity.millis() % 1000 != 0) {
                self.at(amount.path(), format!("fractional byte value \"{quantity}\" is invalid, must be an integer"));
            }
        }
    }

    fn container(&mut self, container: &Field<'_>, annotations: &Field<'_>, app_armor: bool) {
        let (name, context) = (container.get("name").text(), container.get("securityContext"));
        let seccomp = annotations.key(&format!("{SECCOMP_CONTAINER}{name}"));
        if seccomp.is_set() && !context.has("seccompProfile") {
            self.at(seccomp.path(), "non-functional in v1.27+; use the \"seccompProfile\" field instead");
        }
        let profile = annotations.key(&format!("{APP_ARMOR_CONTAINER}{name}"));
        if app_armor && profile.is_set() && !context.has("appArmorProfile") {
            self.at(profile.path(), "deprecated since v1.30; use the \"appArmorProfile\" field instead");
        }
        for list in ["limits", "requests"] {
            self.fractions(&container.get("resources").get(list));
        }
        let mut seen = BTreeSet::new();
        for var in container.get("env").items() {
            let name = var.get("name").text();
            let (value, reference) = (var.get("value").text(), format!("$({name})"));
            let extends = value.contains(&reference) && value != reference && !var.has("valueFrom");
            if !seen.insert(name) && !extends {
                self.at(
                    var.path(),
                    format!("hides previous definition of {}, which may be dropped when using apply", quoted(name)),
                );
            }
        }
    }

    fn ports(&mut self, spec: &Field<'_>) {
        let mut ports: BTreeMap<String, Vec<Field<'_>>> = BTreeMap::new();
        each_container(spec, |container| {
            for port in container.get("ports").items() {
                let key = format!("{}/{}", port.get("containerPort").number(), port.get("protocol").text());
                let others = ports.entry(key).or_default();
                for other in others.iter() {
                    let (ip, other_ip) = (port.get("hostIP").text(), other.get("hostIP").text());
                    let (host, other_host) = (port.get("hostPort").number(), other.get("hostPort").number());
                    let what = if (ip, host) == (other_ip, other_host) {
                        "duplicate"
                    } else if host == 0 || other_host == 0 {
                        "overlapping"
                    } else if host == other_host && ip.is_empty() != other_ip.is_empty() {
                        "dangerously ambiguous"
                    } else {
                        continue;
                    };
                    self.at(port.path(), format!("{what} port definition with {}", other.path()));
                }
                others.push(port);
            }
        });
    }

    fn service(&mut self, service: &Field<'_>) {
        let spec = service.get("spec");
        let kind = spec.get("type").text();
        let headless = kind == "ClusterIP" && spec.get("clusterIP").text() == "None";
        let external_ips = spec.get("externalIPs");
        if service.get("metadata").get("annotations").has(TOPOLOGY_HINTS) {
            self.add(format!(
                "annotation {TOPOLOGY_HINTS} is deprecated, please use service.kubernetes.io/topology-mode instead"
            ));
        }
        if headless {
            if !spec.get("loadBalancerIP").text().is_empty() {
                self.add("spec.loadBalancerIP is ignored for headless services");
            }
            if !external_ips.is_empty() {
                self.add("spec.externalIPs is ignored for headless services");
            }
            if spec.get("sessionAffinity").text() != "None" {
                self.add("spec.SessionAffinity is ignored for headless services");
            }
        }
        for ip in spec.get("clusterIPs").items().filter(|_| !headless).chain(external_ips.items()) {
            self.ip(&ip);
        }
        if !external_ips.is_empty() && !headless && kind != "ExternalName" {
            self.add("spec.externalIPs is deprecated and may no longer be implemented in some clusters");
        }
        if kind == "ExternalName" && !external_ips.is_empty() {
            self.add("spec.externalIPs is ignored when spec.type is \"ExternalName\"");
        }
        if kind != "ExternalName" && !spec.get("externalName").text().is_empty() {
            self.add("spec.externalName is ignored when spec.type is not \"ExternalName\"");
        }
        if spec.get("trafficDistribution").text() == "PreferClose" {
            self.add("spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"");
        }
    }

    fn ip(&mut self, field: &Field<'_>) {
        let text = field.text();
        let Some(address) = address::parse(text) else { return };
        let shown = address.to_string();
        if address.is_ipv4() && shown != text {
            self.at(
                field.path(),
                format!(
                    "non-standard IP address {} will be considered invalid in a future Kubernetes release: use \"{shown}\"",
                    quoted(text)
                ),
            );
        } else if shown != text {
            self.at(field.path(), format!("IPv6 address {} should be in RFC 5952 canonical format (\"{shown}\")", quoted(text)));
        }
    }

    fn claim(&mut self, spec: &Field<'_>) {
        let requests = spec.get("resources").get("requests");
        let storage = requests.key("storage");
        if let Some(quantity) = resources::quantity(&storage).filter(|quantity| quantity.millis() % 1000 != 0) {
            let text = format!("fractional byte value \"{quantity}\" is invalid, must be an integer");
            self.at(storage.path(), text);
        }
    }

    fn persistent_volume(&mut self, persistent_volume: &Field<'_>) {
        let spec = persistent_volume.get("spec");
        if spec.get("persistentVolumeReclaimPolicy").text() == "Recycle" {
            self.add(
                "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.",
            );
        }
        for (field, reported, text) in VOLUMES {
            if spec.has(field) {
                self.at(&spec.child(reported), text);
            }
        }
    }

    fn below_zero(&mut self, field: &Field<'_>) {
        if field.number() < 0 {
            self.at(field.path(), "a negative value retains all historical revisions; a value >= 0 is recommended");
        }
    }
}
