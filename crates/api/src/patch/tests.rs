//! Cases of the documented behaviour of each kind of patch.

use serde_json::json;

use super::*;
use crate::schema::message;

fn apply(kind: &str, object: Value, patch: Value) -> Result<Value, Error> {
    let group = if matches!(kind, "Deployment" | "ReplicaSet") { "apps" } else { "" };
    strategic(message(group, "v1", kind).expect("a known kind"), &object, &patch)
}

fn containers(list: Value) -> Value {
    json!({ "spec": { "containers": list } })
}

#[test]
fn lists_with_keys_merge_by_key() {
    let cases = [
        (
            "an element is changed in place",
            containers(json!([{ "name": "a", "image": "a:1", "tty": true }, { "name": "b", "image": "b:1" }])),
            containers(json!([{ "name": "a", "image": "a:2" }])),
            containers(json!([{ "name": "a", "image": "a:2", "tty": true }, { "name": "b", "image": "b:1" }])),
        ),
        (
            "a new element of the patch comes first",
            containers(json!([{ "name": "a" }])),
            containers(json!([{ "name": "b" }])),
            containers(json!([{ "name": "b" }, { "name": "a" }])),
        ),
        (
            "$patch: delete takes one element out",
            containers(json!([{ "name": "a" }, { "name": "b" }])),
            containers(json!([{ "$patch": "delete", "name": "a" }])),
            containers(json!([{ "name": "b" }])),
        ),
        (
            "$patch: replace in a list replaces the list",
            containers(json!([{ "name": "a", "image": "x" }, { "name": "b" }])),
            containers(json!([{ "name": "a" }, { "$patch": "replace" }])),
            containers(json!([{ "name": "a" }])),
        ),
        (
            "$setElementOrder sorts, and leaves what it does not name where it was",
            containers(json!([{ "name": "a" }, { "name": "b" }, { "name": "c" }])),
            json!({ "spec": {
                "$setElementOrder/containers": [{ "name": "c" }, { "name": "a" }],
                "containers": [{ "name": "a", "image": "x" }],
            } }),
            containers(json!([{ "name": "b" }, { "name": "c" }, { "name": "a", "image": "x" }])),
        ),
        (
            "$setElementOrder alone only sorts",
            containers(json!([{ "name": "a" }, { "name": "b" }])),
            json!({ "spec": { "$setElementOrder/containers": [{ "name": "b" }, { "name": "a" }] } }),
            containers(json!([{ "name": "b" }, { "name": "a" }])),
        ),
        (
            "a list without merge strategy is replaced",
            json!({ "spec": { "tolerations": [{ "key": "a" }] } }),
            json!({ "spec": { "tolerations": [{ "key": "b" }] } }),
            json!({ "spec": { "tolerations": [{ "key": "b" }] } }),
        ),
        (
            "ports merge by their own key within containers",
            containers(json!([{ "name": "a", "ports": [{ "containerPort": 80, "name": "http" }] }])),
            containers(json!([{ "name": "a", "ports": [{ "containerPort": 80, "hostPort": 8080 }, { "containerPort": 443 }] }])),
            containers(json!([{ "name": "a", "ports": [
                { "containerPort": 80, "name": "http", "hostPort": 8080 }, { "containerPort": 443 },
            ] }])),
        ),
    ];
    for (what, object, patch, expected) in cases {
        assert_eq!(apply("Pod", object, patch), Ok(expected), "{what}");
    }
}

#[test]
fn lists_of_scalars_merge_as_sets() {
    let object = json!({ "metadata": { "finalizers": ["a", "b"] } });
    let cases = [
        (json!({ "metadata": { "finalizers": ["c", "a"] } }), json!(["c", "a", "b"])),
        (json!({ "metadata": { "$deleteFromPrimitiveList/finalizers": ["a", "x"] } }), json!(["b"])),
        (
            json!({ "metadata": {
                "$setElementOrder/finalizers": ["c", "b"], "$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"],
            } }),
            json!(["c", "b"]),
        ),
    ];
    for (patch, expected) in cases {
        let patched = apply("Pod", object.clone(), patch.clone()).expect("it applies");
        assert_eq!(patched["metadata"]["finalizers"], expected, "{patch}");
    }
}

#[test]
fn objects_merge_unless_a_directive_says_otherwise() {
    let strategy = json!({ "spec": { "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1 } } } });
    let cases = [
        (
            "null deletes",
            json!({ "metadata": { "labels": { "a": "1", "b": "2" } } }),
            json!({ "metadata": { "labels": { "a": null, "c": "3" } } }),
            json!({ "metadata": { "labels": { "b": "2", "c": "3" } } }),
        ),
        (
            "nulls in new objects are dropped",
            json!({}),
            json!({ "metadata": { "labels": { "a": null, "b": "2" } } }),
            json!({ "metadata": { "labels": { "b": "2" } } }),
        ),
        (
            "$retainKeys clears the members of a union",
            strategy.clone(),
            json!({ "spec": { "strategy": { "$retainKeys": ["type"], "type": "Recreate" } } }),
            json!({ "spec": { "strategy": { "type": "Recreate" } } }),
        ),
        (
            "$patch: replace",
            strategy.clone(),
            json!({ "spec": { "strategy": { "$patch": "replace", "type": "Recreate" } } }),
            json!({ "spec": { "strategy": { "type": "Recreate" } } }),
        ),
        (
            "$patch: delete",
            strategy.clone(),
            json!({ "spec": { "strategy": { "$patch": "delete" } } }),
            json!({ "spec": { "strategy": {} } }),
        ),
        ("another JSON type replaces", strategy, json!({ "spec": "x" }), json!({ "spec": "x" })),
    ];
    for (what, object, patch, expected) in cases {
        assert_eq!(apply("Deployment", object, patch), Ok(expected), "{what}");
    }
}

#[test]
fn mistakes_read_as_upstreams() {
    let pod = containers(json!([{ "name": "a" }]));
    let cases = [
        (
            containers(json!([{ "image": "x" }])),
            Error::Internal("map: map[image:x] does not contain declared merge key: name".to_owned()),
        ),
        (
            json!({ "spec": { "$patch": "sideways" } }),
            Error::Internal("unknown patch type: sideways in map: map[$patch:sideways]".to_owned()),
        ),
        (
            containers(json!([{ "$patch": "merge", "name": "a" }])),
            Error::Internal("merging lists cannot yet be specified in the patch".to_owned()),
        ),
        (
            json!({ "spec": { "$retainKeys": ["containers"], "hostname": "h" } }),
            Error::BadRequest("invalid patch format of retainKeys".to_owned()),
        ),
        (
            json!({ "spec": { "$deleteFromPrimitiveList": ["a"] } }),
            Error::BadRequest("invalid patch format of primitive list".to_owned()),
        ),
        (containers(json!(["a"])), Error::Internal("list element types are not identical: [[map[name:a]] [a]]".to_owned())),
        (
            json!({ "spec": {
                "$setElementOrder/containers": [{ "name": "a" }, { "name": "b" }],
                "containers": [{ "name": "b" }, { "name": "a" }],
            } }),
            Error::Internal(
                "The order in patch list:\n[map[name:b] map[name:a]]\n doesn't match $setElementOrder list:\n\
                 [map[name:a] map[name:b]]\n"
                    .to_owned(),
            ),
        ),
    ];
    for (patch, expected) in cases {
        assert_eq!(apply("Pod", pod.clone(), patch.clone()), Err(expected), "{patch}");
    }
}

#[test]
fn json_patches_apply_whole_or_not_at_all() {
    let object = json!({ "spec": { "replicas": 1, "list": ["a"] } });
    let cases = [
        (
            json!([{ "op": "replace", "path": "/spec/replicas", "value": 3 }]),
            Ok(json!({ "spec": { "replicas": 3, "list": ["a"] } })),
        ),
        (
            json!([{ "op": "test", "path": "/spec/replicas", "value": 1 }, { "op": "add", "path": "/spec/list/-", "value": "b" }]),
            Ok(json!({ "spec": { "replicas": 1, "list": ["a", "b"] } })),
        ),
        (json!([{ "op": "test", "path": "/spec/replicas", "value": 2 }]), Err(422)),
        (json!([{ "op": "remove", "path": "/spec/nothing" }]), Err(422)),
        (json!({ "op": "remove" }), Err(400)),
        (json!(vec![json!({ "op": "remove", "path": "/spec" }); MAX_JSON_PATCH_OPERATIONS + 1]), Err(413)),
    ];
    for (patch, expected) in cases {
        let found = json(&object, &patch).map_err(|error| error.to_status().code);
        assert_eq!(found, expected);
    }
}

#[test]
fn a_rejected_json_patch_says_what_upstream_says() {
    let error = json(&json!({}), &json!([{ "op": "remove", "path": "/a" }])).expect_err("there is no /a");
    let status = error.to_status();
    assert_eq!(
        (status.code, status.reason, status.message.as_str()),
        (422, "Invalid", "the server rejected our request due to an error in our request")
    );
}

#[test]
fn merge_patches_delete_by_null() {
    let mut object = json!({ "a": { "b": 1, "c": [1, 2] }, "d": 1 });
    merge(&mut object, &json!({ "a": { "b": null, "c": [3] }, "e": { "f": null } })).expect("it is an object");
    assert_eq!(object, json!({ "a": { "c": [3] }, "d": 1, "e": {} }));
    let error = merge(&mut object, &json!([])).expect_err("a list is no merge patch");
    assert_eq!(error, Error::BadRequest("Invalid JSON Patch".to_owned()));
}
