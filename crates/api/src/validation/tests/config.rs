//! ConfigMap and Secret.

use expect_test::expect;
use serde_json::json;

use super::{create, update};

#[test]
fn config_map() {
    create(
        "",
        "ConfigMap",
        json!({
            "data": { "a b": "", "..": "", "..x": "", "same": "1", "fine.txt": "x" },
            "binaryData": { "same": "AA==", "bad/key": "" },
        }),
        expect![[r#"
            data[..]: Invalid value: "..": must not be '..'
            data[..x]: Invalid value: "..x": must not start with '..'
            data[a b]: Invalid value: "a b": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')
            data[same]: Invalid value: "same": duplicate of key present in binaryData
            binaryData[bad/key]: Invalid value: "bad/key": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')
        "#]],
    );
    create(
        "",
        "ConfigMap",
        json!({ "data": { "a": "x".repeat(1024 * 1024), "b": "y" } }),
        expect![[r#"
        []: Too long: may not be more than 1048576 bytes
    "#]],
    );
    update(
        "",
        "ConfigMap",
        json!({ "data": { "a": "1" }, "immutable": true }),
        |object| {
            object["data"]["a"] = json!("2");
            object["binaryData"] = json!({ "b": "AA==" });
            object["immutable"] = json!(false);
        },
        expect![[r#"
            immutable: Forbidden: field is immutable when `immutable` is set
            data: Forbidden: field is immutable when `immutable` is set
            binaryData: Forbidden: field is immutable when `immutable` is set
        "#]],
    );
}

#[test]
fn secret() {
    for (kind, expected) in [
        (
            "kubernetes.io/tls",
            expect![[r#"
            data[tls.crt]: Required value
            data[tls.key]: Required value
        "#]],
        ),
        (
            "kubernetes.io/basic-auth",
            expect![[r#"
            data[username]: Required value
            data[password]: Required value
        "#]],
        ),
        (
            "kubernetes.io/ssh-auth",
            expect![[r#"
            data[ssh-privatekey]: Required value
        "#]],
        ),
        (
            "kubernetes.io/dockercfg",
            expect![[r#"
            data[.dockercfg]: Required value
        "#]],
        ),
        (
            "kubernetes.io/dockerconfigjson",
            expect![[r#"
            data[.dockerconfigjson]: Required value
        "#]],
        ),
        (
            "kubernetes.io/service-account-token",
            expect![[r#"
            metadata.annotations[kubernetes.io/service-account.name]: Required value
        "#]],
        ),
        ("example.com/own", expect![[r#""#]]),
    ] {
        create("", "Secret", json!({ "type": kind, "data": { "a": "AA==" } }), expected);
    }
    create(
        "",
        "Secret",
        json!({ "type": "kubernetes.io/dockerconfigjson", "stringData": { ".dockerconfigjson": "[1]", "a b": "" } }),
        expect![[r#"
            data[a b]: Invalid value: "a b": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')
            data[.dockerconfigjson]: Invalid value: "<secret contents redacted>": json: cannot unmarshal array into Go value of type map[string]interface {}
        "#]],
    );
    update(
        "",
        "Secret",
        json!({ "data": { "a": "AA==" }, "immutable": true }),
        |object| {
            object["type"] = json!("other");
            object["data"]["a"] = json!("AQ==");
        },
        expect![[r#"
            type: Invalid value: "other": field is immutable
            data: Forbidden: field is immutable when `immutable` is set
        "#]],
    );
}
