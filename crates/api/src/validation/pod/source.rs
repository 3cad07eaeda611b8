//! What a volume is made from: exactly one source, most of which only need some of their fields to be there.

use super::super::errors::Errors;
use super::super::field::Field;
use super::super::storage::claim_template;
use super::super::{format, metadata};
use super::container::pull_policy;
use super::volume::{descending_path, key_to_path, mode, no_backsteps};
use super::{projected, resources};

/// One kind of volume.
struct Source {
    /// Its field.
    field: &'static str,
    /// The path of its mistakes, which upstream does not always name after the field.
    reported: &'static str,
    /// The path that a second source is refused under.
    refused: &'static str,
    rules: fn(&Field<'_>, &mut Errors),
}

const fn source(field: &'static str, rules: fn(&Field<'_>, &mut Errors)) -> Source {
    Source { field, reported: field, refused: field, rules }
}

const POD_SOURCES: &[Source] = &[
    source("emptyDir", empty_dir),
    source("hostPath", host_path),
    source("gitRepo", git_repo),
    Source { field: "gcePersistentDisk", reported: "persistentDisk", refused: "gcePersistentDisk", rules: gce_disk },
    source("awsElasticBlockStore", aws_disk),
    source("secret", |secret, errors| keyed_files(secret, "secretName", errors)),
    source("nfs", nfs),
    source("iscsi", iscsi),
    source("glusterfs", |source, errors| needs(source, &["endpoints", "path"], errors)),
    source("flocker", flocker),
    source("persistentVolumeClaim", |source, errors| needs(source, &["claimName"], errors)),
    source("rbd", rbd),
    source("cinder", cinder),
    Source { field: "cephfs", reported: "cephfs", refused: "cephFS", rules: cephfs },
    source("quobyte", quobyte),
    Source { field: "downwardAPI", reported: "downwardAPI", refused: "downwarAPI", rules: projected::downward_api },
    source("fc", fibre_channel),
    source("flexVolume", flex_volume),
    source("configMap", |config_map, errors| keyed_files(config_map, "name", errors)),
    source("azureFile", |source, errors| needs(source, &["secretName", "shareName"], errors)),
    source("vsphereVolume", |source, errors| needs(source, &["volumePath"], errors)),
    source("photonPersistentDisk", |source, errors| needs(source, &["pdID"], errors)),
    source("portworxVolume", |source, errors| needs(source, &["volumeID"], errors)),
    source("azureDisk", azure_disk),
    source("storageos", storageos),
    source("projected", projected::projected),
    source("scaleIO", |source, errors| needs(source, &["gateway", "system", "volumeName"], errors)),
    source("csi", csi),
    source("ephemeral", ephemeral),
    source("image", |image, errors| pull_policy(&image.get("pullPolicy"), errors)),
];

/// The source of a pod's volume.
pub(super) fn of_pod(volume: &Field<'_>, errors: &mut Errors) {
    exactly_one(volume, POD_SOURCES, errors);
}

/// The sources of a PersistentVolume: like a pod's, but those that a pod would make itself.
pub(in crate::validation) fn of_persistent_volume(spec: &Field<'_>, errors: &mut Errors) {
    const SOURCES: &[Source] = &[
        source("hostPath", host_path),
        Source { field: "gcePersistentDisk", reported: "persistentDisk", refused: "gcePersistentDisk", rules: gce_disk },
        source("awsElasticBlockStore", aws_disk),
        source("glusterfs", |source, errors| needs(source, &["endpoints", "path"], errors)),
        source("flocker", flocker),
        source("nfs", nfs),
        source("rbd", rbd),
        source("quobyte", quobyte),
        Source { field: "cephfs", reported: "cephfs", refused: "cephFS", rules: cephfs },
        source("iscsi", iscsi),
        source("cinder", cinder),
        source("fc", fibre_channel),
        source("flexVolume", flex_volume),
        source("azureFile", |source, errors| needs(source, &["secretName", "shareName"], errors)),
        source("vsphereVolume", |source, errors| needs(source, &["volumePath"], errors)),
        source("photonPersistentDisk", |source, errors| needs(source, &["pdID"], errors)),
        source("portworxVolume", |source, errors| needs(source, &["volumeID"], errors)),
        source("azureDisk", azure_disk),
        source("scaleIO", |source, errors| needs(source, &["gateway", "system", "volumeName"], errors)),
        source("local", local),
        source("storageos", storageos),
        source("csi", persistent_csi),
    ];
    exactly_one(spec, SOURCES, errors);
}

fn exactly_one(holder: &Field<'_>, sources: &[Source], errors: &mut Errors) {
    let mut found = false;
    for source in sources.iter().filter(|source| holder.has(source.field)) {
        let value = holder.get(source.field);
        if found {
            errors.forbidden(&value.named(holder.child(source.refused)), "may not specify more than 1 volume type");
        } else {
            found = true;
            (source.rules)(&value.named(holder.child(source.reported)), errors);
        }
    }
    if !found {
        errors.required(holder, "must specify a volume type");
    }
}

fn needs(source: &Field<'_>, fields: &[&str], errors: &mut Errors) {
    for field in fields {
        errors.required_text(&source.get(field));
    }
}

fn needs_items(source: &Field<'_>, field: &str, errors: &mut Errors) {
    if source.get(field).is_empty() {
        errors.required(&source.get(field), "");
    }
}

fn empty_dir(source: &Field<'_>, errors: &mut Errors) {
    let limit = source.get("sizeLimit");
    if resources::quantity(&limit).is_some_and(|quantity| quantity.is_negative()) {
        errors.forbidden(&limit, "SizeLimit field must be a valid resource quantity");
    }
}

fn host_path(source: &Field<'_>, errors: &mut Errors) {
    const TYPES: &[&str] = &["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
    let (path, kind) = (source.get("path"), source.get("type"));
    if path.text().is_empty() {
        return errors.required(&path, "");
    }
    no_backsteps(&path, errors);
    if kind.is_set() {
        errors.one_of(&kind, TYPES);
    }
}

fn local(source: &Field<'_>, errors: &mut Errors) {
    errors.required_text(&source.get("path"));
    no_backsteps(&source.get("path"), errors);
}

fn git_repo(source: &Field<'_>, errors: &mut Errors) {
    needs(source, &["repository"], errors);
    descending_path(&source.get("directory"), errors);
}

fn partition(source: &Field<'_>, errors: &mut Errors) {
    let partition = source.get("partition");
    if !(0..=255).contains(&partition.number()) {
        errors.invalid(&partition, "must be between 1 and 255, inclusive");
    }
}

fn gce_disk(source: &Field<'_>, errors: &mut Errors) {
    needs(source, &["pdName"], errors);
    partition(source, errors);
}

fn aws_disk(source: &Field<'_>, errors: &mut Errors) {
    needs(source, &["volumeID"], errors);
    partition(source, errors);
}

fn nfs(source: &Field<'_>, errors: &mut Errors) {
    needs(source, &["server", "path"], errors);
    let path = source.get("path");
    if !path.text().starts_with('/') {
        errors.invalid_as(path.path(), path.text(), "must be an absolute path");
    }
}

fn iscsi(source: &Field<'_>, errors: &mut Errors) {
    needs(source, &["targetPortal", "iqn"], errors);
    let (iqn, lun) = (source.get("iqn"), source.get("lun"));
    if !iqn.text().is_empty() && !["iqn", "eui", "naa"].iter().any(|prefix| iqn.text().starts_with(prefix)) {
        errors.invalid(&iqn, "must be valid format starting with iqn, eui, or naa");
    }
    if lun.is_set() {
        errors.in_range(&lun, 0, 255);
    }
    let authenticated = source.get("chapAuthDiscovery").is_true() || source.get("chapAuthSession").is_true();
    if authenticated && !source.has("secretRef") {
        errors.required(&source.get("secretRef"), "");
    }
}

fn flocker(source: &Field<'_>, errors: &mut Errors) {
    let (name, id) = (source.get("datasetName"), source.get("datasetUUID"));
    match (name.text().is_empty(), id.text().is_empty()) {
        (true, true) => errors.required(source, "one of datasetName and datasetUUID is required"),
        (false, false) => {
            errors.invalid_as(source.path(), "resource", "datasetName and datasetUUID can not be specified simultaneously")
        }
        _ => {}
    }
    if name.text().contains('/') {
        errors.invalid(&name, "must not contain '/'");
    }
}

fn rbd(source: &Field<'_>, errors: &mut Errors) {
    needs_items(source, "monitors", errors);
    needs(source, &["image"], errors);
}

fn cinder(source: &Field<'_>, errors: &mut Errors) {
    needs(source, &["volumeID"], errors);
    if source.has("secretRef") {
        needs(&source.get("secretRef"), &["name"], errors);
    }
}

fn cephfs(source: &Field<'_>, errors: &mut Errors) {
    needs_items(source, "monitors", errors);
}

fn quobyte(source: &Field<'_>, errors: &mut Errors) {
    const PAIRS: &str = "must be a host:port pair or multiple pairs separated by commas";
    let (registry, tenant) = (source.get("registry"), source.get("tenant"));
    if registry.text().is_empty() {
        errors.required(&registry, PAIRS);
    } else if tenant.text().len() >= 65 {
        errors.required(&tenant, "must be a UUID and may not exceed a length of 64 characters");
    } else {
        for _ in registry.text().split(',').filter(|pair| pair.split(':').count() != 2) {
            errors.invalid(&registry, PAIRS);
        }
    }
    needs(source, &["volume"], errors);
}

fn fibre_channel(source: &Field<'_>, errors: &mut Errors) {
    let (targets, ids, lun) = (source.get("targetWWNs"), source.get("wwids"), source.get("lun"));
    match (targets.is_empty(), ids.is_empty()) {
        (true, true) => errors.required(&targets, "must specify either targetWWNs or wwids, but not both"),
        (false, false) => errors.invalid(&targets, "targetWWNs and wwids can not be specified simultaneously"),
        _ => {}
    }
    if !targets.is_empty() && !lun.is_set() {
        errors.required(&lun, "lun is required if targetWWNs is specified");
    } else if !targets.is_empty() {
        errors.in_range(&lun, 0, 255);
    }
}

fn flex_volume(source: &Field<'_>, errors: &mut Errors) {
    needs(source, &["driver"], errors);
    for (key, option) in source.get("options").entries() {
        let namespace = format!(".{}", key.split('/').next().unwrap_or(key).to_lowercase());
        if key.contains('/') && [".kubernetes.io", ".k8s.io"].iter().any(|reserved| namespace.ends_with(reserved)) {
            errors.invalid_as(option.path(), key, "kubernetes.io and k8s.io namespaces are reserved");
        }
    }
}

fn azure_disk(source: &Field<'_>, errors: &mut Errors) {
    needs(source, &["diskName", "diskURI"], errors);
    let (caching, kind, uri) = (source.get("cachingMode"), source.get("kind"), source.get("diskURI"));
    if caching.is_set() {
        errors.one_of(&caching, &["None", "ReadOnly", "ReadWrite"]);
    }
    if kind.is_set() {
        errors.one_of(&kind, &["Dedicated", "Managed", "Shared"]);
    }
    if kind.text() == "Managed" && !uri.text().starts_with("/subscriptions/") {
        let managed = "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}";
        errors.unsupported(&uri, &[managed]);
    } else if kind.is_set() && kind.text() != "Managed" && !uri.text().starts_with("https://") {
        errors.unsupported(&uri, &["https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"]);
    }
}

fn storageos(source: &Field<'_>, errors: &mut Errors) {
    errors.required_format(&source.get("volumeName"), format::dns1123_label);
    errors.optional_format(&source.get("volumeNamespace"), format::dns1123_label);
    if source.has("secretRef") {
        needs(&source.get("secretRef"), &["name"], errors);
    }
}

/// The name of a CSI driver, in any case.
fn csi_driver(driver: &Field<'_>, errors: &mut Errors) {
    errors.required_text(driver);
    if driver.text().len() > 63 {
        errors.too_long(driver.path(), 63);
    }
    for message in format::dns1123_subdomain(&driver.text().to_lowercase()) {
        errors.invalid_as(driver.path(), driver.text(), message);
    }
}

fn csi(source: &Field<'_>, errors: &mut Errors) {
    csi_driver(&source.get("driver"), errors);
    let secret = source.get("nodePublishSecretRef");
    if secret.is_set() && secret.get("name").text().is_empty() {
        errors.required(&secret.get("name"), "");
    } else if secret.is_set() {
        errors.format(&secret.get("name").named(source.child("name")), format::dns1123_subdomain);
    }
}

fn persistent_csi(source: &Field<'_>, errors: &mut Errors) {
    csi_driver(&source.get("driver"), errors);
    needs(source, &["volumeHandle"], errors);
    for field in ["controllerPublishSecretRef", "controllerExpandSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef"] {
        let secret = source.get(field);
        if secret.is_set() {
            errors.required_format(&secret.get("name"), format::dns1123_subdomain);
            errors.required_format(&secret.get("namespace"), format::dns1123_label);
        }
    }
}

fn ephemeral(source: &Field<'_>, errors: &mut Errors) {
    let template = source.get("volumeClaimTemplate");
    if !template.is_set() {
        return errors.required(&template, "");
    }
    metadata::template_only(&template.get("metadata"), errors);
    claim_template(&template.get("spec"), errors);
}

/// A Secret or ConfigMap whose keys become files.
fn keyed_files(source: &Field<'_>, name: &str, errors: &mut Errors) {
    errors.required_text(&source.get(name));
    mode(&source.get("defaultMode"), errors);
    for item in source.get("items").items() {
        key_to_path(&item, errors);
    }
}
