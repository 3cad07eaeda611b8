//! Defaults of a pod's volumes.

use serde_json::{Map, Value};

use super::container::{field_ref, pull_policy};
use super::fill::{blank, each, inside, text, unset};
use super::storage;

/// `rw-r--r--`, which JSON can write only in decimal.
const MODE: i64 = 0o644;

pub(super) fn volume(volume: &mut Value) {
    let has_source = volume.as_object().is_some_and(|map| map.iter().any(|(field, value)| field != "name" && !value.is_null()));
    if !has_source {
        unset(volume, "emptyDir", Map::new());
    }
    for field in ["secret", "configMap", "downwardAPI", "projected"] {
        inside(volume, field, |source| unset(source, "defaultMode", MODE));
    }
    inside(volume, "downwardAPI", downward_api);
    inside(volume, "projected", |source| each(source, "sources", projection));
    inside(volume, "image", |image| {
        let policy = pull_policy(text(image, "reference"));
        blank(image, "pullPolicy", policy);
    });
    inside(volume, "ephemeral", |source| {
        inside(source, "volumeClaimTemplate", |template| {
            unset(template, "metadata", Map::new());
            storage::claim_spec(template);
        });
    });
    source(volume);
}

/// The sources that a pod's volume and a PersistentVolume share.
pub(super) fn source(holder: &mut Value) {
    inside(holder, "hostPath", |source| unset(source, "type", ""));
    inside(holder, "iscsi", |source| blank(source, "iscsiInterface", "default"));
    inside(holder, "rbd", |source| {
        blank(source, "pool", "rbd");
        blank(source, "user", "admin");
        blank(source, "keyring", "/etc/ceph/keyring");
    });
    inside(holder, "azureDisk", |source| {
        unset(source, "cachingMode", "ReadWrite");
        unset(source, "kind", "Shared");
        unset(source, "fsType", "ext4");
        unset(source, "readOnly", false);
    });
    inside(holder, "scaleIO", |source| {
        blank(source, "storageMode", "ThinProvisioned");
        blank(source, "fsType", "xfs");
    });
}

fn projection(source: &mut Value) {
    inside(source, "downwardAPI", downward_api);
    inside(source, "serviceAccountToken", |token| unset(token, "expirationSeconds", 3600));
}

fn downward_api(source: &mut Value) {
    each(source, "items", |item| inside(item, "fieldRef", field_ref));
}
