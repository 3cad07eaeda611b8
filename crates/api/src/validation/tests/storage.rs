//! PersistentVolume, PersistentVolumeClaim, StorageClass.

use expect_test::expect;
use serde_json::{Value, json};

use super::{create, update};

fn claim(change: impl FnOnce(&mut Value)) -> Value {
    let mut claim = json!({ "metadata": { "name": "data" }, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } }, "storageClassName": "fast",
    } });
    change(&mut claim);
    claim
}

#[test]
fn claims() {
    create(
        "",
        "PersistentVolumeClaim",
        json!({}),
        expect![[r#"
        spec.accessModes: Required value: at least 1 access mode is required
        spec.resources[storage]: Required value
    "#]],
    );
    create(
        "",
        "PersistentVolumeClaim",
        claim(|claim| {
            claim["spec"]["accessModes"] = json!(["ReadWriteOncePod", "ReadWriteOnce", "Append"]);
            claim["spec"]["resources"]["requests"]["storage"] = json!("0");
            claim["spec"]["volumeMode"] = json!("Tape");
            claim["spec"]["dataSource"] = json!({ "kind": "Pod", "name": "" });
        }),
        expect![[r#"
            spec.accessModes: Unsupported value: "Append": supported values: "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"
            spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes
            spec.resources[storage]: Invalid value: "0": must be greater than zero
            spec.volumeMode: Unsupported value: "Tape": supported values: "Block", "Filesystem"
            spec.dataSource.name: Required value
            spec.dataSource: Invalid value: "Pod": must be 'PersistentVolumeClaim' when referencing the default apiGroup
        "#]],
    );
    update(
        "",
        "PersistentVolumeClaim",
        claim(|_| {}),
        |claim| {
            claim["spec"]["storageClassName"] = json!("slow");
            claim["spec"]["volumeMode"] = json!("Block");
        },
        expect![[r#"
            spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims
            -  {"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}},"storageClassName":"fast","volumeMode":"Filesystem"}
            +  {"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}},"storageClassName":"slow","volumeMode":"Block"}

            volumeMode: Invalid value: "Block": field is immutable
        "#]],
    );
    let bound = || {
        claim(|claim| {
            claim["spec"]["volumeName"] = json!("v");
            claim["status"] = json!({ "phase": "Bound", "capacity": { "storage": "1Gi" } });
        })
    };
    update(
        "",
        "PersistentVolumeClaim",
        bound(),
        |claim| claim["spec"]["resources"]["requests"]["storage"] = json!("2Gi"),
        expect![[r#""#]],
    );
    update(
        "",
        "PersistentVolumeClaim",
        bound(),
        |claim| claim["spec"]["resources"]["requests"]["storage"] = json!("512Mi"),
        expect![[r#"
            spec.resources.requests.storage: Forbidden: field can not be less than status.capacity
        "#]],
    );
    update("", "PersistentVolumeClaim", claim(|_| {}), |claim| claim["spec"]["volumeName"] = json!("v"), expect![[r#""#]]);
}

#[test]
fn volumes_and_classes() {
    create(
        "",
        "PersistentVolume",
        json!({}),
        expect![[r#"
        spec.accessModes: Required value
        spec.capacity: Required value
        spec.capacity: Unsupported value: null: supported values: "storage"
        spec: Required value: must specify a volume type
    "#]],
    );
    let volume = || json!({ "spec": { "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteOnce"], "hostPath": { "path": "/a" } } });
    update(
        "",
        "PersistentVolume",
        volume(),
        |volume| volume["spec"]["hostPath"]["path"] = json!("/b"),
        expect![[r#"
        spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation
        -  {"hostPath":{"path":"/a","type":""}}
        +  {"hostPath":{"path":"/b","type":""}}

    "#]],
    );
    update("", "PersistentVolume", volume(), |volume| volume["spec"]["claimRef"] = json!({ "name": "c" }), expect![[r#""#]]);
    create(
        "storage.k8s.io",
        "StorageClass",
        json!({ "reclaimPolicy": "Burn" }),
        expect![[r#"
        provisioner: Required value
        reclaimPolicy: Unsupported value: "Burn": supported values: "Delete", "Retain"
    "#]],
    );
    update(
        "storage.k8s.io",
        "StorageClass",
        json!({ "provisioner": "example.com/a", "parameters": { "a": "b" } }),
        |class| {
            class["provisioner"] = json!("example.com/b");
            class["parameters"] = json!({});
            class["reclaimPolicy"] = json!("Retain");
            class["volumeBindingMode"] = json!("WaitForFirstConsumer");
        },
        expect![[r#"
            parameters: Forbidden: updates to parameters are forbidden.
            provisioner: Forbidden: updates to provisioner are forbidden.
            reclaimPolicy: Forbidden: updates to reclaimPolicy are forbidden.
            volumeBindingMode: Invalid value: "WaitForFirstConsumer": field is immutable
        "#]],
    );
}
