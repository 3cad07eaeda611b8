//! Rows of persistent storage.

use jiff::Timestamp;
use serde_json::Value;

use super::{
    Column,
    cell::{self, items, text, text_or},
};

pub(crate) const PERSISTENT_VOLUME: &[Column] = &[
    Column::NAME,
    Column::text("Capacity"),
    Column::text("Access Modes"),
    Column::text("Reclaim Policy"),
    Column::text("Status"),
    Column::text("Claim"),
    Column::text("StorageClass"),
    Column::text("VolumeAttributesClass"),
    Column::text("Reason"),
    Column::AGE,
    Column::wide("VolumeMode"),
];

pub(crate) fn persistent_volume(volume: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, claim) = (&volume["spec"], &volume["spec"]["claimRef"]);
    let claim = match claim {
        Value::Object(_) => format!("{}/{}", text(&claim["namespace"]), text(&claim["name"])),
        _ => String::new(),
    };
    vec![
        cell::name(volume),
        text_or(&spec["capacity"]["storage"], "0").into(),
        access_modes(&spec["accessModes"]).into(),
        text(&spec["persistentVolumeReclaimPolicy"]).into(),
        phase(volume),
        claim.into(),
        storage_class_name(volume),
        text_or(&spec["volumeAttributesClassName"], "<unset>").into(),
        text(&volume["status"]["reason"]).into(),
        cell::age(volume, now),
        text_or(&spec["volumeMode"], "<unset>").into(),
    ]
}

pub(crate) const PERSISTENT_VOLUME_CLAIM: &[Column] = &[
    Column::NAME,
    Column::text("Status"),
    Column::text("Volume"),
    Column::text("Capacity"),
    Column::text("Access Modes"),
    Column::text("StorageClass"),
    Column::text("VolumeAttributesClass"),
    Column::AGE,
    Column::wide("VolumeMode"),
];

pub(crate) fn persistent_volume_claim(claim: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&claim["spec"], &claim["status"]);
    let bound = !text(&spec["volumeName"]).is_empty();
    let when_bound = |text: String| Value::from(if bound { text } else { String::new() });
    vec![
        cell::name(claim),
        phase(claim),
        text(&spec["volumeName"]).into(),
        when_bound(text_or(&status["capacity"]["storage"], "0").to_owned()),
        when_bound(access_modes(&status["accessModes"])),
        storage_class_name(claim),
        text_or(&spec["volumeAttributesClassName"], "<unset>").into(),
        cell::age(claim, now),
        text_or(&spec["volumeMode"], "<unset>").into(),
    ]
}

fn phase(object: &Value) -> Value {
    let terminating = !object["metadata"]["deletionTimestamp"].is_null();
    if terminating { "Terminating" } else { text(&object["status"]["phase"]) }.into()
}

fn storage_class_name(object: &Value) -> Value {
    let beta = &object["metadata"]["annotations"]["volume.beta.kubernetes.io/storage-class"];
    beta.as_str().unwrap_or(text(&object["spec"]["storageClassName"])).into()
}

fn access_modes(modes: &Value) -> String {
    const SHORT: [(&str, &str); 4] =
        [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];
    let present = SHORT.iter().filter(|(mode, _)| items(modes).any(|other| other == mode));
    present.map(|(_, short)| *short).collect::<Vec<_>>().join(",")
}

pub(crate) const STORAGE_CLASS: &[Column] = &[
    Column::NAME,
    Column::text("Provisioner"),
    Column::text("ReclaimPolicy"),
    Column::text("VolumeBindingMode"),
    Column::text("AllowVolumeExpansion"),
    Column::AGE,
];

pub(crate) fn storage_class(class: &Value, now: Timestamp) -> Vec<Value> {
    let annotations = &class["metadata"]["annotations"];
    let default = ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"]
        .iter()
        .any(|key| annotations[key] == "true");
    let name = text(&class["metadata"]["name"]);
    vec![
        if default { format!("{name} (default)") } else { name.to_owned() }.into(),
        text(&class["provisioner"]).into(),
        text_or(&class["reclaimPolicy"], "Delete").into(),
        text_or(&class["volumeBindingMode"], "Immediate").into(),
        (class["allowVolumeExpansion"] == true).into(),
        cell::age(class, now),
    ]
}
