//! Where the volumes of a pod come from.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Pod, Violation, pod::name, words};

/// What every pod may use.
const ALLOWED: [&str; 9] =
    ["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret"];

/// Other sources that have a name.
const KNOWN: [&str; 21] = [
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "gitRepo",
    "nfs",
    "iscsi",
    "glusterfs",
    "rbd",
    "flexVolume",
    "cinder",
    "cephfs",
    "flocker",
    "fc",
    "azureFile",
    "vsphereVolume",
    "quobyte",
    "azureDisk",
    "photonPersistentDisk",
    "portworxVolume",
    "scaleIO",
    "storageos",
];

/// Nothing of the host's files.
pub(super) fn host_paths(pod: Pod<'_>) -> Option<Violation> {
    let names: Vec<&str> = volumes(pod).filter(|volume| !volume["hostPath"].is_null()).map(name).collect();
    let detail = format!("{} {}", words::plural(names.len(), "volume", "volumes"), words::list(&names));
    (!names.is_empty()).then_some(Violation { reason: "hostPath volumes", detail })
}

/// Nothing but what the cluster itself provides.
pub(super) fn restricted(pod: Pod<'_>) -> Option<Violation> {
    let has = |volume: &Value, sources: &[&'static str]| sources.iter().find(|source| !volume[**source].is_null()).copied();
    let bad: Vec<&Value> = volumes(pod).filter(|volume| has(volume, &ALLOWED).is_none()).collect();
    let sources: BTreeSet<&str> = bad.iter().map(|volume| has(volume, &KNOWN).unwrap_or("unknown")).collect();
    let detail = format!(
        "{} {} {} {} {}",
        words::plural(bad.len(), "volume", "volumes"),
        words::list(bad.iter().map(|volume| name(volume))),
        words::plural(bad.len(), "uses", "use"),
        words::plural(sources.len(), "restricted volume type", "restricted volume types"),
        words::list(&sources),
    );
    (!bad.is_empty()).then_some(Violation { reason: "restricted volume types", detail })
}

fn volumes(pod: Pod<'_>) -> impl Iterator<Item = &Value> {
    pod.spec["volumes"].as_array().into_iter().flatten()
}
