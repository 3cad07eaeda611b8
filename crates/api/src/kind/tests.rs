//! Laws of the table, and what each kind does to objects on their way in.

use std::collections::BTreeSet;

use serde_json::json;

use super::*;

#[test]
fn every_entry_is_found_by_its_names() {
    for kind in KINDS {
        assert!(std::ptr::eq(find(kind.group, kind.version, kind.plural).unwrap(), kind));
        assert!(std::ptr::eq(find_object(&kind.api_version(), kind.kind).unwrap(), kind));
        assert_eq!(kind.singular, kind.kind.to_lowercase());
    }
    assert!(find("", "v1", "deployments").is_none());
}

#[test]
fn no_two_kinds_share_a_name_in_one_version_of_a_group() {
    let mut names = BTreeSet::new();
    for kind in KINDS {
        let own = [kind.plural, kind.singular].into_iter().collect::<BTreeSet<_>>();
        for name in own.into_iter().chain(kind.short_names.iter().copied()) {
            assert!(names.insert((kind.group, kind.version, name)), "{name}");
        }
    }
}

#[test]
fn events_of_both_groups_are_selected_in_their_stored_shape() {
    assert_eq!(events::EVENT.stored_kind().group, "");
    let stored: BTreeSet<_> = core::EVENT.selectable.iter().flat_map(|field| field.pointers).collect();
    let named = events::EVENT.selectable.iter().flat_map(|field| field.pointers);
    assert!(named.into_iter().all(|pointer| stored.contains(pointer)));
    assert_eq!(core::POD.stored_kind().kind, "Pod");
}

#[test]
fn a_row_has_a_cell_for_each_column() {
    for kind in KINDS {
        let row = (kind.row)(&json!({ "metadata": { "name": "x" } }), Timestamp::UNIX_EPOCH);
        assert_eq!(row.len(), kind.columns.len(), "{}", kind.kind);
    }
}

fn created(kind: &Kind, mut object: Value) -> Value {
    kind.prepare_create(&mut object);
    object
}

fn updated(kind: &Kind, mut new: Value, old: &Value) -> Value {
    kind.prepare_update(&mut new, old);
    new
}

#[test]
fn a_client_cannot_create_a_status() {
    let pod = created(&core::POD, json!({ "metadata": { "generation": 9 }, "spec": {}, "status": { "phase": "Running" } }));
    assert_eq!(pod["status"], json!({ "phase": "Pending", "qosClass": "BestEffort" }));
    assert_eq!(pod["metadata"]["generation"], 1);
    let node = created(&core::NODE, json!({ "metadata": { "generation": 9 }, "status": { "phase": "Running" } }));
    assert_eq!(
        (&node["metadata"], &node["status"]["phase"]),
        (&json!({}), &json!("Running")),
        "a node registers with its status"
    );
}

#[test]
fn a_body_of_wrong_types_is_left_to_validation() {
    let good = json!({ "metadata": {}, "spec": { "ports": [{ "port": 1, "nodePort": 2 }] } });
    for kind in KINDS {
        for odd in [
            json!(null),
            json!([]),
            json!({}),
            json!({ "metadata": 1, "spec": "x", "status": [] }),
            json!({ "spec": { "ports": ["x"] } }),
        ] {
            for subject in [created(kind, odd.clone()), updated(kind, odd.clone(), &good), updated(kind, good.clone(), &odd)] {
                kind.prepare_status(&mut subject.clone(), &good);
                kind.prepare_status(&mut good.clone(), &subject);
                (kind.row)(&subject, Timestamp::UNIX_EPOCH);
            }
        }
    }
}

#[test]
fn a_namespace_starts_active_and_named() {
    let namespace = created(&core::NAMESPACE, json!({ "metadata": { "name": "shop" } }));
    assert_eq!(namespace["spec"], json!({ "finalizers": ["kubernetes"] }));
    assert_eq!(namespace["status"], json!({ "phase": "Active" }));
    assert_eq!(namespace["metadata"]["labels"], json!({ "kubernetes.io/metadata.name": "shop" }));
    let changed = updated(&core::NAMESPACE, json!({ "metadata": { "name": "shop" }, "spec": {} }), &namespace);
    assert_eq!((&changed["spec"], &changed["status"]), (&namespace["spec"], &namespace["status"]));
}

#[test]
fn generation_grows_with_what_the_user_asks_for() {
    let old = json!({
        "metadata": { "generation": 4, "labels": { "a": "1" }, "annotations": { "x": "1" } },
        "spec": { "replicas": 1, "template": { "spec": { "tolerations": [] } } },
        "status": { "replicas": 1 },
    });
    let generation = |kind: &Kind, change: fn(&mut Value)| {
        let mut new = old.clone();
        change(&mut new);
        updated(kind, new, &old)["metadata"]["generation"].clone()
    };
    let (deployment, replica_set) = (&apps::DEPLOYMENT, &apps::REPLICA_SET);
    assert_eq!(generation(deployment, |_| {}), 4);
    assert_eq!(generation(deployment, |new| new["metadata"]["generation"] = json!(77)), 4);
    assert_eq!(generation(deployment, |new| new["metadata"]["labels"]["a"] = json!("2")), 4);
    assert_eq!(generation(deployment, |new| new["status"]["replicas"] = json!(9)), 4);
    assert_eq!(generation(deployment, |new| new["spec"]["template"]["spec"] = json!({})), 4, "empty is absent");
    assert_eq!(generation(deployment, |new| new["spec"]["replicas"] = json!(2)), 5);
    assert_eq!(generation(deployment, |new| new["metadata"]["annotations"]["x"] = json!("2")), 5);
    assert_eq!(generation(replica_set, |new| new["metadata"]["annotations"]["x"] = json!("2")), 4);
    assert_eq!(generation(replica_set, |new| new["spec"]["replicas"] = json!(2)), 5);
}

#[test]
fn a_gated_pod_says_so() {
    let pod = created(&core::POD, json!({ "metadata": {}, "spec": { "schedulingGates": [{ "name": "a" }] } }));
    assert_eq!(pod["status"]["conditions"][0]["reason"], "SchedulingGated");
}

#[test]
fn a_status_without_class_keeps_it() {
    let old = json!({ "metadata": {}, "status": { "phase": "Pending", "qosClass": "Burstable" } });
    let mut new = json!({ "metadata": {}, "status": { "phase": "Running" } });
    core::POD.prepare_status(&mut new, &old);
    assert_eq!(new["status"], json!({ "phase": "Running", "qosClass": "Burstable" }));
}

#[test]
fn a_service_gives_up_what_its_new_type_has_no_use_for() {
    let old = json!({ "metadata": {}, "status": { "loadBalancer": { "ingress": [{ "ip": "127.0.0.1" }] } }, "spec": {
        "type": "LoadBalancer", "clusterIP": "10.0.0.9", "clusterIPs": ["10.0.0.9"], "ipFamilies": ["IPv4"],
        "externalTrafficPolicy": "Local", "healthCheckNodePort": 31000, "allocateLoadBalancerNodePorts": true,
        "ports": [{ "port": 80, "nodePort": 30080 }],
    } });
    let changed = |kind: &str| {
        let mut new = old.clone();
        new["spec"]["type"] = json!(kind);
        updated(&core::SERVICE, new, &old)
    };
    let cluster = changed("ClusterIP");
    let rest = json!({
        "type": "ClusterIP", "clusterIP": "10.0.0.9", "clusterIPs": ["10.0.0.9"], "ipFamilies": ["IPv4"], "ports": [{ "port": 80 }],
    });
    assert_eq!((&cluster["spec"], &cluster["status"]), (&rest, &json!({ "loadBalancer": {} })));
    let rest = json!({ "type": "ExternalName", "ports": [{ "port": 80 }] });
    assert_eq!(changed("ExternalName")["spec"], rest);
    let mut touched = old.clone();
    touched["spec"]["type"] = json!("ClusterIP");
    touched["spec"]["ports"][0]["nodePort"] = json!(30081);
    let kept = updated(&core::SERVICE, touched, &old);
    assert_eq!(kept["spec"]["ports"][0]["nodePort"], 30081, "asking for another port is refused by validation, not ignored");
}

#[test]
fn a_status_write_changes_nothing_else() {
    let old =
        json!({ "kind": "Deployment", "metadata": { "name": "web", "generation": 2 }, "spec": { "replicas": 1 }, "status": {} });
    let mut new = json!({
        "kind": "Deployment",
        "metadata": { "name": "web", "generation": 7, "annotations": { "a": "1" }, "ownerReferences": [{}] },
        "spec": { "replicas": 9 }, "status": { "replicas": 1 },
    });
    apps::DEPLOYMENT.prepare_status(&mut new, &old);
    assert_eq!(new["spec"], old["spec"]);
    assert_eq!(new["status"], json!({ "replicas": 1 }));
    let metadata = json!({ "name": "web", "generation": 2, "annotations": { "a": "1" }, "ownerReferences": [{}] });
    assert_eq!(new["metadata"], metadata);
}

#[test]
fn a_daemon_set_counts_its_templates() {
    let generation = |object: &Value| object["metadata"]["annotations"]["deprecated.daemonset.template.generation"].clone();
    let old = created(&apps::DAEMON_SET, json!({ "metadata": {}, "spec": { "template": { "spec": { "hostname": "a" } } } }));
    assert_eq!(generation(&old), "1");
    let mut new = old.clone();
    new["metadata"] = json!({});
    new["spec"]["minReadySeconds"] = json!(5);
    assert_eq!(generation(&updated(&apps::DAEMON_SET, new.clone(), &old)), "1");
    new["spec"]["template"]["spec"]["hostname"] = json!("b");
    assert_eq!(generation(&updated(&apps::DAEMON_SET, new, &old)), "2");
}

#[test]
fn a_service_keeps_what_was_allocated() {
    let old = json!({ "metadata": {}, "spec": {
        "type": "NodePort", "clusterIP": "10.0.0.9", "clusterIPs": ["10.0.0.9"],
        "ports": [{ "port": 80, "nodePort": 30080 }, { "port": 53, "protocol": "UDP", "nodePort": 30053 }],
    } });
    let new = json!({ "metadata": {}, "spec": { "type": "NodePort", "ports": [
        { "port": 53, "protocol": "UDP" }, { "port": 80, "protocol": "TCP" }, { "port": 81 },
    ] } });
    let kept = updated(&core::SERVICE, new, &old);
    assert_eq!(kept["spec"]["clusterIP"], "10.0.0.9");
    assert_eq!(kept["spec"]["clusterIPs"], json!(["10.0.0.9"]));
    let ports: Vec<Value> = kept["spec"]["ports"].as_array().unwrap().iter().map(|port| port["nodePort"].clone()).collect();
    assert_eq!(ports, [json!(30053), json!(30080), json!(null)]);

    let other = json!({ "metadata": {}, "spec": { "clusterIP": "10.0.0.7", "ports": [] } });
    let kept = updated(&core::SERVICE, other, &old);
    assert_eq!(
        kept["spec"],
        json!({ "clusterIP": "10.0.0.7", "ports": [] }),
        "another address is refused by validation, not mixed"
    );
    let external = json!({ "metadata": {}, "spec": { "type": "ExternalName", "externalName": "a.b" } });
    assert_eq!(updated(&core::SERVICE, external.clone(), &old)["spec"], external["spec"]);
}

#[test]
fn a_job_selects_its_own_pods() {
    let mut job = json!({ "metadata": { "name": "once", "uid": "u-1" }, "spec": { "template": { "spec": {} } } });
    batch::JOB.prepare_named(&mut job);
    assert_eq!(job["spec"]["selector"], json!({ "matchLabels": { "batch.kubernetes.io/controller-uid": "u-1" } }));
    let labels = &job["spec"]["template"]["metadata"]["labels"];
    assert_eq!((&labels["job-name"], &labels["controller-uid"]), (&json!("once"), &json!("u-1")));
    assert_eq!(job["metadata"]["labels"], *labels, "they are the job's too");
    let mut by_hand = json!({ "metadata": { "name": "once", "uid": "u-1" }, "spec": { "manualSelector": true, "template": {} } });
    batch::JOB.prepare_named(&mut by_hand);
    assert_eq!(by_hand["spec"].get("selector"), None);
}

#[test]
fn what_an_older_autoscaler_carries_is_spec_or_status_whoever_writes_it() {
    const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
    const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
    let kind = &autoscaling::HORIZONTAL_POD_AUTOSCALER_V1;
    let object = |annotations: Value| json!({ "metadata": { "annotations": annotations }, "spec": { "maxReplicas": 1 } });
    let old = object(json!({ METRICS: "[]", CONDITIONS: "[1]" }));
    let plain = updated(kind, object(json!({ "note": "x" })), &old);
    assert_eq!(plain["metadata"]["annotations"], json!({ "note": "x", CONDITIONS: "[1]" }));
    let mut status = object(json!({ METRICS: "[2]", CONDITIONS: "[2]" }));
    kind.prepare_status(&mut status, &old);
    assert_eq!(status["metadata"]["annotations"], json!({ METRICS: "[]", CONDITIONS: "[2]" }));
    assert_eq!(created(kind, object(json!({ CONDITIONS: "[3]" })))["metadata"]["annotations"], json!({}));
}
