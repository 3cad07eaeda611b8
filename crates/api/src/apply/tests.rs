//! Who owns what after which writes.

use expect_test::{Expect, expect};

use super::*;
use crate::schema::message;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).expect("a time of this century")
}

fn deployment() -> &'static Message {
    message("apps", "v1", "Deployment").expect("apps/v1 has Deployment")
}

fn writer(manager: &str, second: i64) -> Writer<'_> {
    Writer { manager, subresource: "", now: at(second) }
}

fn web(spec: Value) -> Value {
    json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web", "namespace": "default" }, "spec": spec })
}

fn applied(live: Option<&Value>, spec: Value, manager: &str, force: bool) -> Result<Value, Error> {
    apply(deployment(), live, &web(spec), &writer(manager, 1), force)
}

fn owners(object: &Value) -> String {
    let list = object["metadata"]["managedFields"].as_array().map(Vec::as_slice).unwrap_or_default();
    let lines = list.iter().map(|entry| {
        let text = |key: &str| entry[key].as_str().unwrap_or("-");
        let subresource = entry["subresource"].as_str().map(|name| format!("/{name}")).unwrap_or_default();
        format!("{}{subresource} {} {}\n  {}\n", text("manager"), text("operation"), text("time"), entry["fieldsV1"])
    });
    lines.collect()
}

fn containers(image: &str) -> Value {
    json!({ "template": { "spec": { "containers": [{ "name": "web", "image": image }] } } })
}

#[test]
fn applying_owns_what_the_configuration_says() {
    let live = applied(
        None,
        json!({ "replicas": 3, "strategy": {}, "template": { "spec": { "nodeSelector": { "a": "b" }, "containers": [
        { "name": "web", "ports": [{ "containerPort": 80 }] },
    ] } } }),
        "ci",
        false,
    );
    let live = live.expect("nobody is in the way");
    expect![[r#"
        ci Apply 2023-11-14T22:13:21Z
          {"f:spec":{"f:replicas":{},"f:strategy":{},"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"web\"}":{".":{},"f:name":{},"f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}}}},"f:nodeSelector":{}}}}}
    "#]]
    .assert_eq(&owners(&live));
}

#[test]
fn an_update_owns_what_it_changes() {
    let mut live = web(json!({ "replicas": 1, "paused": true }));
    track_update(deployment(), None, &mut live, &writer("kubectl-create", 1));
    let mut next = live.clone();
    next["spec"] = json!({ "replicas": 2 });
    next["metadata"]["labels"] = json!({ "a": "b" });
    next["metadata"]["resourceVersion"] = "7".into();
    track_update(deployment(), Some(&live), &mut next, &writer("kubectl-edit", 2));
    let mut last = next.clone();
    last["status"] = json!({ "replicas": 2, "conditions": [{ "type": "Available", "status": "True" }] });
    let status = Writer { subresource: "status", ..writer("controller", 3) };
    track_update(deployment(), Some(&next), &mut last, &status);
    expect![[r#"
        kubectl-edit Update 2023-11-14T22:13:22Z
          {"f:metadata":{"f:labels":{".":{},"f:a":{}}},"f:spec":{"f:replicas":{}}}
        controller/status Update 2023-11-14T22:13:23Z
          {"f:status":{"f:conditions":{".":{},"k:{\"type\":\"Available\"}":{".":{},"f:status":{},"f:type":{}}},"f:replicas":{}}}
    "#]]
    .assert_eq(&owners(&last));
}

#[test]
fn a_struct_that_can_be_absent_is_owned_itself() {
    let mut live = web(json!({ "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1 } } }));
    track_update(deployment(), None, &mut live, &writer("a", 1));
    let fields = &live["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"];
    assert_eq!(*fields, json!({ "f:strategy": { "f:type": {}, "f:rollingUpdate": { ".": {}, "f:maxSurge": {} } } }));
}

#[test]
fn a_write_without_change_changes_no_owner() {
    let mut live = web(json!({ "replicas": 1 }));
    track_update(deployment(), None, &mut live, &writer("a", 1));
    let mut same = live.clone();
    if let Some(metadata) = same["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    track_update(deployment(), Some(&live), &mut same, &writer("b", 2));
    assert_eq!(same, live);
    let again =
        applied(Some(&applied(None, json!({ "replicas": 1 }), "a", false).expect("new")), json!({ "replicas": 1 }), "a", false);
    assert_eq!(again, applied(None, json!({ "replicas": 1 }), "a", false));
}

#[test]
fn fields_of_others_conflict_unless_forced() {
    let mut live = web(json!({ "replicas": 1, "paused": true }));
    track_update(deployment(), None, &mut live, &writer("kubectl-client-side-apply", 1));
    let one = applied(Some(&live), json!({ "replicas": 2 }), "ci", false).expect_err("replicas are somebody else's");
    assert_eq!(
        one.to_string(),
        r#"Apply failed with 1 conflict: conflict with "kubectl-client-side-apply" using apps/v1: .spec.replicas"#
    );
    let two = applied(Some(&live), json!({ "replicas": 2, "paused": false }), "ci", false).expect_err("both are somebody else's");
    assert_eq!(
        two.to_string(),
        "Apply failed with 2 conflicts: conflicts with \"kubectl-client-side-apply\" using apps/v1:\n- .spec.paused\n- .spec.replicas"
    );
    let status = two.to_status();
    assert_eq!((status.code, status.reason), (409, "Conflict"));
    assert_eq!(
        status.details.expect("it has causes")["causes"][0],
        json!({
            "reason": "FieldManagerConflict", "field": ".spec.paused",
            "message": "conflict with \"kubectl-client-side-apply\" using apps/v1",
        })
    );

    applied(Some(&live), json!({ "replicas": 1 }), "ci", false).expect("the same value can have two owners");
    let forced = applied(Some(&live), json!({ "replicas": 2 }), "ci", true).expect("force takes it");
    expect![[r#"
        ci Apply 2023-11-14T22:13:21Z
          {"f:spec":{"f:replicas":{}}}
        kubectl-client-side-apply Update 2023-11-14T22:13:21Z
          {"f:spec":{"f:paused":{}}}
    "#]]
    .assert_eq(&owners(&forced));
}

#[test]
fn what_a_configuration_no_longer_says_goes_unless_others_own_it() {
    let first = json!({ "replicas": 3, "paused": true, "template": { "spec": {
        "containers": [{ "name": "web", "image": "a", "env": [{ "name": "K", "value": "v" }] }, { "name": "side", "image": "b" }],
        "nodeSelector": { "disk": "ssd" },
    } } });
    let mut live = applied(None, first, "ci", false).expect("new");
    live["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = "Always".into();
    let live = applied(Some(&live), json!({ "paused": true }), "other", false).expect("the same value");
    let next = applied(Some(&live), containers("a"), "ci", false).expect("its own fields");
    assert_eq!(
        next["spec"],
        json!({ "paused": true, "template": { "spec": { "containers": [
            { "name": "web", "image": "a", "imagePullPolicy": "Always" },
        ] } } })
    );
}

#[test]
fn lists_merge_in_the_order_of_the_configuration() {
    let list = |names: &[&str]| {
        let items: Vec<_> = names.iter().map(|name| json!({ "name": name, "image": name })).collect();
        json!({ "template": { "spec": { "containers": items } } })
    };
    let cases: &[(&[&str], &[&str], &[&str])] = &[
        (&["a", "b"], &["c"], &["a", "b", "c"]),
        (&["a", "b", "c"], &["c", "a"], &["b", "c", "a"]),
        (&["a", "b", "c"], &["b", "d"], &["a", "b", "c", "d"]),
        (&[], &["a"], &["a"]),
    ];
    for (live, config, expected) in cases {
        let merged = apply(deployment(), Some(&web(list(live))), &web(list(config)), &writer("ci", 1), false).expect("no owners");
        let names: Vec<_> = merged["spec"]["template"]["spec"]["containers"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|item| item["name"].as_str().expect("a name"))
            .collect();
        assert_eq!(names, *expected, "{live:?} + {config:?}");
    }
}

fn check_refused(config: Value, expected: &Expect) {
    let error = apply(deployment(), None, &config, &writer("ci", 1), false).expect_err("it is no Deployment");
    expected.assert_eq(&error.to_string());
}

#[test]
fn configurations_that_do_not_fit_are_refused() {
    let list = json!([{ "name": "a" }, { "name": "a" }, { "image": "x" }]);
    check_refused(
        web(json!({ "replicas": "3", "foo": 1, "template": { "spec": { "containers": list } } })),
        &expect![[r#"
            failed to create typed patch object (default/web; apps/v1, Kind=Deployment): errors:
              .spec.foo: field not declared in schema
              .spec.replicas: expected numeric (int or float), got string
              .spec.template.spec.containers: duplicate entries for key [name="a"]
              .spec.template.spec.containers: element 2: associative list with keys has an element that omits key field "name" (and doesn't have default value)"#]],
    );
    let mut config = web(json!({}));
    config["metadata"]["managedFields"] = json!([]);
    check_refused(config, &expect!["metadata.managedFields must be nil"]);
}

#[test]
fn kubectl_inherits_what_it_applied_from_the_client() {
    let mut live = web(json!({ "replicas": 1, "paused": true }));
    live["metadata"]["annotations"] = json!({ ANNOTATION_LAST_APPLIED: web(json!({ "replicas": 1 })).to_string() });
    track_update(deployment(), None, &mut live, &writer("kubectl-client-side-apply", 1));
    let next = applied(Some(&live), json!({ "replicas": 2 }), KUBECTL, false).expect("replicas were kubectl's");
    assert_eq!(next["spec"]["replicas"], 2);
    assert_eq!(next["metadata"]["annotations"][ANNOTATION_LAST_APPLIED], format!("{}\n", web(json!({ "replicas": 2 }))));
    let error = applied(Some(&live), json!({ "replicas": 2, "paused": false }), KUBECTL, false).expect_err("paused was not");
    assert_eq!(
        error,
        Error::Conflicts(vec![Conflict {
            owner: "\"kubectl-client-side-apply\" using apps/v1".to_owned(),
            field: ".spec.paused".to_owned(),
        }])
    );
}

#[test]
fn clients_may_rewrite_the_list_of_owners() {
    let mut live = web(json!({ "replicas": 1 }));
    track_update(deployment(), None, &mut live, &writer("a", 1));
    let entry = json!({
        "manager": "b", "operation": "Apply", "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
        "fieldsV1": { "f:spec": { "f:replicas": {} } },
    });
    for (sent, subresource, expected) in [
        (json!([entry]), "", json!([entry])),
        (json!([{}]), "", Value::Null),
        (json!([]), "", live["metadata"]["managedFields"].clone()),
        (json!([{ "manager": "c", "operation": "Sideways" }]), "", live["metadata"]["managedFields"].clone()),
        (json!([entry]), "status", live["metadata"]["managedFields"].clone()),
    ] {
        let mut next = live.clone();
        next["metadata"]["managedFields"] = sent.clone();
        track_update(deployment(), Some(&live), &mut next, &Writer { subresource, ..writer("a", 2) });
        assert_eq!(next["metadata"]["managedFields"], expected, "{sent} {subresource}");
    }
}

#[test]
fn old_updaters_are_summed_up() {
    let mut live = web(json!({}));
    for index in 0..30 {
        let mut next = live.clone();
        next["metadata"]["annotations"][format!("a{index}")] = "x".into();
        track_update(deployment(), Some(&live), &mut next, &writer(&format!("writer-{index:02}"), index));
        live = next;
    }
    let list = live["metadata"]["managedFields"].as_array().expect("there are owners");
    let names: Vec<_> = list.iter().map(|entry| entry["manager"].as_str().expect("a name")).collect();
    assert_eq!(names.len(), 10);
    assert_eq!((names[0], names[9]), ("ancient-changes", "writer-29"));
    let sum = Set::from_value(&list[0]["fieldsV1"]).paths().len();
    assert_eq!(sum, 21 + 1, "21 annotations, and the map that holds them");
}
