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

fn unprocessable(object: &Value, operations: Vec<Value>) -> String {
    match json(object, &Value::Array(operations)) {
        Err(Error::Unprocessable(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn copies_do_not_grow_without_end() {
    let object = json!({ "data": { "a": "x".repeat(1000) } });
    let doubling = (0..60).map(|number| json!({ "op": "copy", "from": "/data", "path": format!("/data/b{number}") })).collect();
    let why = unprocessable(&object, doubling);
    assert!(why.starts_with("Unable to complete the copy, the accumulated size increase of copy is "), "{why}");
    let few = json!([{ "op": "copy", "from": "/data", "path": "/data/b" }, { "op": "copy", "from": "/data", "path": "/data/c" }]);
    assert_eq!(json(&object, &few).unwrap()["data"]["c"]["b"], object["data"]);
}

#[test]
fn nothing_becomes_too_deep_to_read() {
    // A chain moved to the end of a chain is as long as both.
    let chain = |depth: usize| (0..depth).fold(json!({}), |inner, _| json!({ "a": inner }));
    let object = json!({ "one": chain(100), "two": chain(100) });
    let end = format!("/one{}", "/a".repeat(100));
    for op in ["move", "copy"] {
        let why = unprocessable(&object, vec![json!({ "op": op, "from": "/two", "path": format!("{end}/b") })]);
        assert_eq!(why, "the object would be more than 128 levels deep");
    }
    let why = unprocessable(&object, vec![json!({ "op": "add", "path": format!("{end}/b"), "value": chain(30) })]);
    assert_eq!(why, "the object would be more than 128 levels deep");
    // Step by step, each move as cheap as the one before.
    let mut steps = vec![json!({ "op": "add", "path": "/x", "value": {} }), json!({ "op": "add", "path": "/y", "value": {} })];
    for _ in 0..200 {
        steps.push(json!({ "op": "move", "from": "/x", "path": "/y/n" }));
        steps.push(json!({ "op": "add", "path": "/x", "value": {} }));
        steps.push(json!({ "op": "move", "from": "/y", "path": "/x/n" }));
        steps.push(json!({ "op": "add", "path": "/y", "value": {} }));
    }
    assert_eq!(unprocessable(&json!({}), steps), "the object would be more than 128 levels deep");
    let back_and_forth = (0..500).flat_map(|_| {
        [json!({ "op": "move", "from": "/one", "path": "/three" }), json!({ "op": "move", "from": "/three", "path": "/one" })]
    });
    assert_eq!(json(&object, &Value::Array(back_and_forth.collect())).unwrap(), object);
}

#[test]
fn a_patch_cannot_look_at_everything_for_ever() {
    let leaf = json!({ "many": vec![0; 200_000], "deep": (0..120).fold(json!(0), |inner, _| json!([inner])) });
    let object = json!({ "a": { "b": { "c": { "d": { "e": { "f": { "g": leaf } } } } } }, "far": { "p": { "q": {} } } });
    let moves = (0..200).flat_map(|_| {
        [
            json!({ "op": "move", "from": "/a/b/c/d/e/f/g/many", "path": "/far/p/q/many" }),
            json!({ "op": "move", "from": "/far/p/q/many", "path": "/a/b/c/d/e/f/g/many" }),
        ]
    });
    let why = unprocessable(&object, moves.collect());
    assert_eq!(why, "the patch takes looking at more than 10000000 values");
}

#[test]
fn long_lists_merge() {
    let names = |count: usize| (0..count).map(|number| json!({ "name": format!("n{number}") })).collect::<Vec<_>>();
    let pod = message("", "v1", "Pod").unwrap();
    let object = json!({ "spec": { "containers": names(50_000) }, "metadata": { "finalizers": (0..50_000).map(|n| n.to_string()).collect::<Vec<_>>() } });
    let mut changes = names(60_000);
    changes.iter_mut().for_each(|change| change["image"] = json!("x"));
    let finalizers: Vec<String> = (25_000..75_000).map(|number: i32| number.to_string()).collect();
    let patch = json!({ "spec": { "containers": changes }, "metadata": { "finalizers": finalizers } });
    let merged = strategic(pod, &object, &patch).unwrap();
    assert_eq!(merged["spec"]["containers"].as_array().map(Vec::len), Some(60_000));
    assert_eq!(merged["metadata"]["finalizers"].as_array().map(Vec::len), Some(75_000));
    assert_eq!(merged["spec"]["containers"][7], json!({ "name": "n7", "image": "x" }));
}
