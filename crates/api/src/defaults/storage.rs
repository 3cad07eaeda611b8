//! Defaults of persistent storage.

use serde_json::{Map, Value};

use super::fill::{blank, unset, within};
use super::{quantities, volume};

pub(super) fn persistent_volume(persistent_volume: &mut Value) {
    within(persistent_volume, "status", |status| blank(status, "phase", "Pending"));
    within(persistent_volume, "spec", |spec| {
        blank(spec, "persistentVolumeReclaimPolicy", "Retain");
        unset(spec, "volumeMode", "Filesystem");
        quantities::canonical(spec, "capacity");
        volume::source(spec);
    });
}

pub(super) fn persistent_volume_claim(claim: &mut Value) {
    within(claim, "status", |status| {
        blank(status, "phase", "Pending");
        quantities::canonical(status, "capacity");
        quantities::canonical(status, "allocatedResources");
    });
    claim_spec(claim);
}

/// The `spec` of a claim or of a claim's template.
pub(super) fn claim_spec(claim: &mut Value) {
    within(claim, "spec", |spec| {
        unset(spec, "volumeMode", "Filesystem");
        unset(spec, "resources", Map::new());
        within(spec, "resources", |resources| {
            quantities::canonical(resources, "limits");
            quantities::canonical(resources, "requests");
        });
    });
}

pub(super) fn storage_class(storage_class: &mut Value) {
    unset(storage_class, "reclaimPolicy", "Delete");
    unset(storage_class, "volumeBindingMode", "Immediate");
}
