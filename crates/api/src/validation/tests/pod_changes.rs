//! What may be changed of a pod: by an update, in its status, through its subresources.

use expect_test::expect;
use serde_json::json;

use super::{pod, update};

#[test]
fn updates() {
    let fixture = || {
        pod(|spec| {
            spec["tolerations"] = json!([{ "key": "a", "operator": "Exists" }]);
            spec["activeDeadlineSeconds"] = json!(100);
        })
    };
    update(
        "",
        "Pod",
        fixture(),
        |pod| {
            pod["spec"]["containers"][0]["image"] = json!("nginx:2");
            pod["spec"]["activeDeadlineSeconds"] = json!(50);
            pod["spec"]["tolerations"].as_array_mut().unwrap().push(json!({ "key": "b", "operator": "Exists" }));
            pod["spec"]["hostNetwork"] = json!(false);
        },
        expect![[r#""#]],
    );
    update(
        "",
        "Pod",
        fixture(),
        |pod| {
            pod["spec"]["containers"][0]["command"] = json!(["sleep"]);
            pod["spec"]["tolerations"] = json!([]);
            pod["spec"]["terminationGracePeriodSeconds"] = json!(1);
        },
        expect![[r#"
            spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds
            spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)
            -  containers: [{"image":"nginx","imagePullPolicy":"Always","name":"web","resources":{},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}]
            +  containers: [{"command":["sleep"],"image":"nginx","imagePullPolicy":"Always","name":"web","resources":{},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}]
            -  terminationGracePeriodSeconds: 30
            +  terminationGracePeriodSeconds: 1

        "#]],
    );
    update(
        "",
        "Pod",
        fixture(),
        |pod| pod["spec"]["containers"].as_array_mut().unwrap().push(json!({ "name": "b", "image": "b" })),
        expect![[r#"
            spec.containers: Forbidden: pod updates may not add or remove containers
        "#]],
    );
    update(
        "",
        "Pod",
        fixture(),
        |pod| pod["spec"]["activeDeadlineSeconds"] = json!(200),
        expect![[r#"
        spec.activeDeadlineSeconds: Invalid value: 200: must be less than or equal to previous value
    "#]],
    );
}

#[test]
fn statuses() {
    let mut old = pod(|spec| spec["restartPolicy"] = json!("Never"));
    old["status"] = json!({ "qosClass": "BestEffort", "containerStatuses": [{ "name": "web", "state": { "terminated": { "exitCode": 0 } } }] });
    let mut new = old.clone();
    new["spec"]["nodeName"] = json!("n2");
    new["status"] = json!({
        "qosClass": "Guaranteed",
        "conditions": [{ "type": "Ready" }, { "type": "bad type" }],
        "containerStatuses": [{ "name": "web", "state": { "running": {} } }],
        "podIPs": [{ "ip": "10.0.0.1" }, { "ip": "10.0.0.1" }],
    });
    expect![[r#"
        metadata.conditions[1].Type: Invalid value: "bad type": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        status.nodeName: Forbidden: may not be changed directly
        status.qosClass: Invalid value: "Guaranteed": field is immutable
        status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state
        status.podIPs: Invalid value: [{"IP":"10.0.0.1"},{"IP":"10.0.0.1"}]: may specify no more than one IP for each IP family
    "#]].assert_eq(&super::lines(&super::super::status("", "Pod", &new, &old)));
}

#[test]
fn ephemeral_containers() {
    let old = pod(|spec| spec["ephemeralContainers"] = json!([{ "name": "a", "image": "a" }, { "name": "b", "image": "b" }]));
    let mut new = old.clone();
    new["spec"]["ephemeralContainers"] = json!([
        { "name": "a", "image": "changed" },
        { "name": "web", "image": "w", "targetContainerName": "nobody", "ports": [{ "containerPort": 80 }] },
    ]);
    let (mut new, mut old) = (new, old);
    for pod in [&mut new, &mut old] {
        crate::defaults::apply("", "Pod", pod);
    }
    expect![[r#"
        spec.ephemeralContainers[1].name: Duplicate value: "web"
        spec.ephemeralContainers[1].targetContainerName: Not found: "nobody"
        spec.ephemeralContainers[1].ports: Forbidden: cannot be set for an Ephemeral Container
        spec.ephemeralContainers: Forbidden: existing ephemeral containers "a" may not be changed
        -  {"image":"a","imagePullPolicy":"Always","name":"a","resources":{},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}
        +  {"image":"changed","imagePullPolicy":"Always","name":"a","resources":{},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}

        spec.ephemeralContainers: Forbidden: existing ephemeral containers "b" may not be removed

    "#]].assert_eq(&super::lines(&super::super::ephemeral_containers(&new, &old)));
}

#[test]
fn resizes() {
    let sized = |resources: serde_json::Value| {
        let mut pod = pod(|spec| spec["containers"][0]["resources"] = resources);
        crate::defaults::apply("", "Pod", &mut pod);
        pod
    };
    let old = sized(json!({ "requests": { "cpu": "1", "ephemeral-storage": "1Gi" } }));
    for (resources, expected) in [
        (json!({ "requests": { "cpu": "2", "ephemeral-storage": "1Gi" } }), expect![[r#""#]]),
        (
            json!({ "requests": { "ephemeral-storage": "1Gi" } }),
            expect![[r#"
            spec: Invalid value: "": Pod QOS Class may not change as a result of resizing
            spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed
        "#]],
        ),
        (
            json!({ "requests": { "cpu": "1", "ephemeral-storage": "2Gi" } }),
            expect![[r#"
            spec: Forbidden: only cpu and memory resources are mutable
        "#]],
        ),
    ] {
        expected.assert_eq(&super::lines(&super::super::resize(&sized(resources), &old)));
    }
}

#[test]
fn a_resize_moves_no_container() {
    let named = |names: &[&str]| {
        let mut pod = pod(|spec| spec["containers"] = names.iter().map(|name| json!({ "name": name, "image": "a" })).collect());
        crate::defaults::apply("", "Pod", &mut pod);
        pod
    };
    let old = named(&["a", "b"]);
    for (names, expected) in [
        (
            &["b", "a"][..],
            expect![[r#"
            spec.containers[0].name: Forbidden: containers may not be renamed or reordered on resize
            spec.containers[1].name: Forbidden: containers may not be renamed or reordered on resize
        "#]],
        ),
        (
            &["a"][..],
            expect![[r#"
            spec.containers: Forbidden: containers may not be added or removed on resize
        "#]],
        ),
    ] {
        expected.assert_eq(&super::lines(&super::super::resize(&named(names), &old)));
    }
}
