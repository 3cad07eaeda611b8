//! Services and pods to slices and Endpoints.

use std::sync::Arc;

use expect_test::{Expect, expect};
use k8s_openapi::api::discovery::v1::Endpoint;
use serde_json::{Value, json};

use super::*;

fn service(change: Value) -> Service {
    let mut value = json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "s", "labels": {"tier": "front"}, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"clusterIP": "10.96.0.10", "ipFamilies": ["IPv4"], "selector": {"app": "web"}, "ports": [
            {"name": "http", "port": 80, "targetPort": "web", "protocol": "TCP"}]}
    });
    value["spec"].as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    serde_json::from_value(value).unwrap()
}

fn pod(number: usize, ready: bool, leaving: bool) -> Arc<Pod> {
    let mut value = json!({
        "metadata": {"name": format!("web-{number:03}"), "uid": format!("u{number:03}"), "namespace": "default", "labels": {"app": "web"}},
        "spec": {"nodeName": "n1", "hostname": "first", "subdomain": "web", "containers": [
            {"name": "c", "ports": [{"name": "web", "containerPort": 8080, "protocol": "TCP"}]}]},
        "status": {"phase": "Running", "podIPs": [{"ip": format!("10.0.{}.{}", number / 200, number % 200)}], "conditions": [
            {"type": "Ready", "status": if ready { "True" } else { "False" }, "lastTransitionTime": "2026-01-01T00:00:05Z"}]}
    });
    if leaving {
        value["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:01:00Z");
    }
    Arc::new(serde_json::from_value(value).unwrap())
}

fn line(endpoint: &Endpoint) -> String {
    let conditions = endpoint.conditions.clone().unwrap_or_default();
    let flags = [("ready", conditions.ready), ("serving", conditions.serving), ("terminating", conditions.terminating)];
    let set: Vec<&str> = flags.into_iter().filter(|(_, value)| *value == Some(true)).map(|(name, _)| name).collect();
    format!("{} {}", endpoint.addresses.join(","), set.join("+"))
}

fn summary(plan: &SlicesPlan) -> String {
    let steps = plan.steps.iter().map(|step| {
        let (verb, slice) = match &step.action {
            Action::Create(slice) => ("create", &**slice),
            Action::Update(slice) => ("update", &**slice),
            Action::Delete(slice) => ("delete", &**slice),
        };
        let endpoints = slice.endpoints.as_deref().unwrap_or_default();
        let shown = if endpoints.len() > 5 {
            format!("{} endpoints", endpoints.len())
        } else {
            endpoints.iter().map(line).collect::<Vec<_>>().join("; ")
        };
        let ports: Vec<i32> = slice.ports.iter().flatten().filter_map(|port| port.port).collect();
        format!("{verb} {:?} {} {ports:?}: {shown}", step.reason, slice.address_type)
    });
    steps.collect::<Vec<_>>().join("\n")
}

fn check(service: &Service, pods: &[Arc<Pod>], slices: &[Arc<EndpointSlice>], expected: Expect) {
    expected.assert_eq(&summary(&plan_slices(&Snapshot { service, pods, slices })));
}

/// The slices after a plan.
fn carry_out(plan: SlicesPlan, slices: &mut Vec<Arc<EndpointSlice>>, made: &mut usize) {
    for step in plan.steps {
        match step.action {
            Action::Create(mut slice) => {
                *made += 1;
                slice.metadata.name = Some(format!("web-{made}"));
                slices.push(Arc::new(*slice));
            }
            Action::Update(slice) => {
                let place = slices.iter().position(|other| other.metadata.name == slice.metadata.name).unwrap();
                slices[place] = Arc::new(*slice);
            }
            Action::Delete(slice) => slices.retain(|other| other.metadata.name != slice.metadata.name),
        }
    }
}

#[test]
fn a_pod_that_leaves_is_not_ready_at_once_but_may_still_serve() {
    let pods = [pod(1, true, false), pod(2, false, false), pod(3, true, true), pod(4, false, true)];
    check(
        &service(json!({})),
        &pods,
        &[],
        expect![
            "create NoRoom IPv4 [8080]: 10.0.0.1 ready+serving; 10.0.0.2 ; 10.0.0.3 serving+terminating; 10.0.0.4 terminating"
        ],
    );
    check(
        &service(json!({"publishNotReadyAddresses": true})),
        &pods,
        &[],
        expect![
            "create NoRoom IPv4 [8080]: 10.0.0.1 ready+serving; 10.0.0.2 ready; 10.0.0.3 ready+serving+terminating; 10.0.0.4 ready+terminating"
        ],
    );
}

#[test]
fn a_service_without_pods_has_an_empty_slice() {
    let mut slices = Vec::new();
    let service = service(json!({}));
    check(&service, &[], &[], expect!["create Placeholder IPv4 []: "]);
    carry_out(plan_slices(&Snapshot { service: &service, pods: &[], slices: &slices }), &mut slices, &mut 0);
    check(&service, &[], &slices, expect![[r#""#]]);
    check(&service, &[pod(1, true, false)], &slices, expect!["update Changed IPv4 [8080]: 10.0.0.1 ready+serving"]);
}

#[test]
fn a_service_without_a_selector_is_somebody_elses() {
    check(&service(json!({"selector": null})), &[pod(1, true, false)], &[], expect![[r#""#]]);
    check(&service(json!({"type": "ExternalName"})), &[pod(1, true, false)], &[], expect![[r#""#]]);
}

#[test]
fn one_change_rewrites_one_slice() {
    let service = service(json!({}));
    let mut pods: Vec<Arc<Pod>> = (0..250).map(|number| pod(number, true, false)).collect();
    let (mut slices, mut made) = (Vec::new(), 0);
    check(
        &service,
        &pods,
        &slices,
        expect![[r#"
        create NoRoom IPv4 [8080]: 100 endpoints
        create NoRoom IPv4 [8080]: 100 endpoints
        create NoRoom IPv4 [8080]: 50 endpoints"#]],
    );
    carry_out(plan_slices(&Snapshot { service: &service, pods: &pods, slices: &slices }), &mut slices, &mut made);
    pods[120] = pod(120, true, true);
    check(&service, &pods, &slices, expect!["update Changed IPv4 [8080]: 100 endpoints"]);
    carry_out(plan_slices(&Snapshot { service: &service, pods: &pods, slices: &slices }), &mut slices, &mut made);
    pods.remove(120);
    pods.push(pod(251, true, false));
    check(&service, &pods, &slices, expect!["update Changed IPv4 [8080]: 100 endpoints"]);
    carry_out(plan_slices(&Snapshot { service: &service, pods: &pods, slices: &slices }), &mut slices, &mut made);
    pods.truncate(60);
    check(
        &service,
        &pods,
        &slices,
        expect![[r#"
        update Changed IPv4 [8080]: 60 endpoints
        delete Empty IPv4 [8080]: 100 endpoints
        delete Empty IPv4 [8080]: 50 endpoints"#]],
    );
}

#[test]
fn headless_services_and_hostnames() {
    let plan =
        plan_slices(&Snapshot { service: &service(json!({"clusterIP": "None"})), pods: &[pod(1, true, false)], slices: &[] });
    let Action::Create(slice) = &plan.steps[0].action else { panic!("a slice is made") };
    expect![[r#"
        Some(
            {
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                "kubernetes.io/service-name": "web",
                "service.kubernetes.io/headless": "",
                "tier": "front",
            },
        )
    "#]]
    .assert_debug_eq(&slice.metadata.labels);
    assert_eq!(slice.endpoints.as_ref().unwrap()[0].hostname.as_deref(), Some("first"));
}

#[test]
fn endpoints_hold_ready_and_not_ready_addresses() {
    let pods = [pod(2, true, false), pod(1, true, false), pod(3, false, false), pod(4, true, true)];
    let EndpointsPlan::Create(endpoints) = plan_endpoints(&service(json!({})), &pods, None) else { panic!("they are made") };
    let addresses = |list: &Option<Vec<k8s_openapi::api::core::v1::EndpointAddress>>| {
        list.iter().flatten().map(|address| address.ip.clone()).collect::<Vec<_>>()
    };
    let subsets = endpoints.subsets.as_ref().unwrap();
    assert_eq!(subsets.len(), 1);
    assert_eq!(addresses(&subsets[0].addresses), ["10.0.0.1", "10.0.0.2"]);
    assert_eq!(addresses(&subsets[0].not_ready_addresses), ["10.0.0.3"]);
    assert_eq!(plan_endpoints(&service(json!({})), &pods, Some(&endpoints)), EndpointsPlan::Keep);
}

#[test]
fn a_pod_without_the_named_port_has_none() {
    let service = service(
        json!({"ports": [{"name": "admin", "port": 81, "targetPort": "admin"}, {"name": "http", "port": 80, "targetPort": 8080}]}),
    );
    check(&service, &[pod(1, true, false)], &[], expect!["create NoRoom IPv4 [8080]: 10.0.0.1 ready+serving"]);
}
