//! Metadata of new and changed objects.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::super::{NameRule, metadata, metadata_update};
use super::lines;

#[expect(clippy::needless_pass_by_value, reason = "a fixture written in place reads better")]
fn create(object: Value, rule: NameRule, expected: Expect) {
    expected.assert_eq(&lines(&metadata(&object, true, rule, "metadata")));
}

#[test]
fn names() {
    create(
        json!({}),
        NameRule::Subdomain,
        expect![[r#"
        metadata.name: Required value: name or generateName is required
        metadata.namespace: Required value
    "#]],
    );
    create(
        json!({ "name": "A_b", "namespace": "x" }),
        NameRule::Subdomain,
        expect![[r#"
        metadata.name: Invalid value: "A_b": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
    "#]],
    );
    create(
        json!({ "name": "a.b", "namespace": "x.y" }),
        NameRule::Label,
        expect![[r#"
        metadata.name: Invalid value: "a.b": must not contain dots
        metadata.namespace: Invalid value: "x.y": must not contain dots
    "#]],
    );
    create(
        json!({ "name": "1a", "namespace": "x" }),
        NameRule::Label1035,
        expect![[r#"
        metadata.name: Invalid value: "1a": a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')
    "#]],
    );
    create(
        json!({ "name": "a/b%", "namespace": "x" }),
        NameRule::PathSegment,
        expect![[r#"
        metadata.name: Invalid value: "a/b%": may not contain '/'
        metadata.name: Invalid value: "a/b%": may not contain '%'
    "#]],
    );
    create(json!({ "generateName": "web-", "name": "web-x2k", "namespace": "x" }), NameRule::Subdomain, expect![[r#""#]]);
    create(
        json!({ "generateName": "Web-", "name": "Web-x2k", "namespace": "x" }),
        NameRule::Subdomain,
        expect![[r#"
        metadata.generateName: Invalid value: "Web-": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        metadata.name: Invalid value: "Web-x2k": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
    "#]],
    );
    create(
        json!({ "name": "a".repeat(254), "namespace": "x" }),
        NameRule::Subdomain,
        expect![[r#"
        metadata.name: Invalid value: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa": must be no more than 253 characters
    "#]],
    );
}

#[test]
fn labels_and_the_rest() {
    create(
        json!({
            "name": "a", "namespace": "x",
            "labels": { "a b": "fine", "ok": "not fine!", "/x": "", "a/b/c": "" },
            "annotations": { "UPPER.example.com/Ok": "1", "-bad": "2" },
            "finalizers": ["odd", "example.com/fine", "orphan", "foregroundDeletion"],
            "ownerReferences": [
                { "apiVersion": "", "kind": "", "name": "", "uid": "" },
                { "apiVersion": "v1", "kind": "Event", "name": "e", "uid": "1", "controller": true },
                { "apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "2", "controller": true },
            ],
        }),
        NameRule::Subdomain,
        expect![[r#"
            metadata.labels: Invalid value: "/x": prefix part must be non-empty
            metadata.labels: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            metadata.labels: Invalid value: "a/b/c": a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')
            metadata.labels: Invalid value: "not fine!": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')
            metadata.annotations: Invalid value: "-bad": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            metadata.ownerReferences.apiVersion: Invalid value: "": version must not be empty
            metadata.ownerReferences.kind: Invalid value: "": must not be empty
            metadata.ownerReferences.name: Invalid value: "": must not be empty
            metadata.ownerReferences.uid: Invalid value: "": must not be empty
            metadata.ownerReferences: Invalid value: {"apiVersion":"v1","kind":"Event","name":"e","uid":"1","controller":true}: /v1, Kind=Event is disallowed from being an owner
            metadata.ownerReferences: Invalid value: [{"apiVersion":"","kind":"","name":"","uid":""},{"apiVersion":"v1","kind":"Event","name":"e","uid":"1","controller":true},{"apiVersion":"v1","kind":"Pod","name":"p","uid":"2","controller":true}]: Only one reference can have Controller set to true. Found "true" in references for Event/e and Pod/p
            metadata.finalizers: Invalid value: ["odd","example.com/fine","orphan","foregroundDeletion"]: finalizer orphan and foregroundDeletion cannot be both set
            metadata.finalizers[0]: Invalid value: "odd": name is neither a standard finalizer name nor is it fully qualified
        "#]],
    );
    let too_big = metadata(
        &json!({ "name": "a", "annotations": { "k": "x".repeat(256 * 1024) }, "namespace": "n" }),
        true,
        NameRule::Subdomain,
        "metadata",
    );
    expect![[r#"
        metadata.annotations: Too long: may not be more than 262144 bytes
    "#]]
    .assert_eq(&lines(&too_big));
}

#[test]
fn updates() {
    let old = json!({ "name": "a", "namespace": "x", "uid": "1", "generation": 3, "deletionTimestamp": "2026-01-01T00:00:00Z" });
    let new = json!({ "name": "b", "namespace": "x", "uid": "2", "generation": 2, "finalizers": ["example.com/new"] });
    expect![[r#"
        metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{"example.com/new"}
        metadata.resourceVersion: Invalid value: "": must be specified for an update
        metadata.generation: Invalid value: 2: must not be decremented
        metadata.name: Invalid value: "b": field is immutable
        metadata.uid: Invalid value: "2": field is immutable
        metadata.deletionTimestamp: Invalid value: "null": field is immutable
    "#]].assert_eq(&lines(&metadata_update(&new, &old, "metadata")));
}
