//! Ports of the node that a pod asks for by `hostPort`: each leads to this pod alone, for as long as it runs.

use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::{ContainerPort, Pod};

use super::{
    Backend, Departures, Frontend, Machine, Owner, PodRef, ProxyPlan, Publication, Route, RouteKey, Scope, Transport,
    departures::own_address,
};
use crate::pod::restart::is_sidecar;

/// Whether the pod asks for any.
#[must_use]
pub fn has_host_ports(pod: &Pod) -> bool {
    ports(pod).any(|port| port.host_port.is_some_and(|number| number > 0))
}

/// Plans the host ports of one pod of this node, ready or not. One that is to stop, in whole or in part, leaves them at once: no other
/// could take its place before it is away.
///
/// A pod in the network of the machine itself listens on its ports, and needs nobody to lead to it.
#[must_use]
pub fn plan_host_ports(pod: &Pod, departures: &Departures, machine: &Machine) -> ProxyPlan {
    let mut plan = ProxyPlan::default();
    let reference = PodRef::of(pod);
    let Some(address) = own_address(pod).filter(|_| departures.of(&reference.uid).is_none()) else { return plan };
    for port in ports(pod) {
        let Some(transport) = Transport::of(port.protocol.as_deref()) else { continue };
        let Some(Ok(host_port)) = port.host_port.filter(|&number| number > 0).map(u16::try_from) else { continue };
        let Ok(container_port) = u16::try_from(port.container_port) else { continue };
        let host_address = port.host_ip.as_deref().filter(|text| !text.is_empty()).unwrap_or("0.0.0.0");
        let addresses = local_addresses(host_address, machine);
        let Some(&first) = addresses.first() else { continue };
        let owner = Owner::Pod(reference.clone());
        let frontend = |address| Frontend { address, transport, port: host_port };
        plan.publications.push(Publication {
            owner: owner.clone(),
            host_port,
            is_local: first.is_loopback(),
            target: frontend(first),
        });
        plan.routes.push(Route {
            key: RouteKey { owner, port_name: format!("{host_address}:{host_port}"), transport, scope: Scope::Internal },
            frontends: addresses.into_iter().map(frontend).collect(),
            backends: [Backend { address, port: container_port, pod: Some(reference.uid.clone()) }].into(),
            affinity_seconds: None,
            http: None,
        });
    }
    plan
}

/// The machine's addresses that `hostIP` means, the best known first. As upstream's, a port answers on the node's own addresses only: it
/// takes nothing away from anybody else.
fn local_addresses(host_address: &str, machine: &Machine) -> Vec<Ipv4Addr> {
    match host_address.parse::<Ipv4Addr>() {
        Ok(address) if address.is_unspecified() => vec![machine.address, Ipv4Addr::LOCALHOST],
        Ok(address) if address == machine.address || address.is_loopback() => vec![address],
        _ => Vec::new(),
    }
}

/// Ports of containers that run for as long as the pod.
fn ports(pod: &Pod) -> impl Iterator<Item = &ContainerPort> {
    pod.spec.iter().flat_map(|spec| {
        let sidecars = spec.init_containers.iter().flatten().filter(|container| is_sidecar(container));
        spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten())
    })
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::*;

    fn machine() -> Machine {
        Machine { node: "here".to_owned(), address: Ipv4Addr::new(10, 244, 0, 1), dns: Ipv4Addr::new(10, 96, 0, 10) }
    }

    fn pod(ports: &Value) -> Value {
        json!({
            "metadata": { "namespace": "shop", "name": "web", "uid": "a" },
            "spec": { "containers": [{ "name": "main", "ports": ports }] },
            "status": { "phase": "Running", "podIP": "10.244.0.2" },
        })
    }

    fn check(pod: &Value, expected: &Expect) {
        check_with(pod, &Departures::default(), expected);
    }

    fn check_with(pod: &Value, departures: &Departures, expected: &Expect) {
        let pod: Pod = serde_json::from_value(pod.clone()).unwrap();
        let plan = plan_host_ports(&pod, departures, &machine());
        let show = |frontend: &Frontend| format!("{}:{}", frontend.address, frontend.port);
        let route = |route: &Route| {
            let frontends: Vec<_> = route.frontends.iter().map(show).collect();
            let backends = route.backends.iter().map(|backend| format!("{}:{} {:?}", backend.address, backend.port, backend.pod));
            format!("{}: {} -> {}\n", route.key, frontends.join(" "), backends.collect::<Vec<_>>().join(" "))
        };
        let publication = |publication: &Publication| {
            let Publication { owner, host_port, is_local, target } = publication;
            let whom = if *is_local { " for the host itself" } else { "" };
            format!("{owner}: host port {host_port}{whom} -> {}/{}\n", show(target), target.transport)
        };
        let lines: Vec<_> = plan.routes.iter().map(route).chain(plan.publications.iter().map(publication)).collect();
        expected.assert_eq(&lines.concat());
    }

    #[test]
    fn a_host_port_leads_to_its_pod_whether_that_is_ready_or_not() {
        let ports = json!([
            { "containerPort": 8080, "hostPort": 80 },
            { "containerPort": 8080, "hostPort": 81, "hostIP": "127.0.0.1" },
            { "containerPort": 8080, "hostPort": 81, "hostIP": "10.244.0.1", "protocol": "TCP" },
            { "containerPort": 5353, "hostPort": 81, "hostIP": "10.244.0.1", "protocol": "UDP" },
            { "containerPort": 9090 },
        ]);
        check(
            &pod(&ports),
            &expect![[r#"
                pod/a/tcp/0.0.0.0:80: 10.244.0.1:80 127.0.0.1:80 -> 10.244.0.2:8080 Some("a")
                pod/a/tcp/127.0.0.1:81: 127.0.0.1:81 -> 10.244.0.2:8080 Some("a")
                pod/a/tcp/10.244.0.1:81: 10.244.0.1:81 -> 10.244.0.2:8080 Some("a")
                pod/a/udp/10.244.0.1:81: 10.244.0.1:81 -> 10.244.0.2:5353 Some("a")
                Pod shop/web: host port 80 -> 10.244.0.1:80/tcp
                Pod shop/web: host port 81 for the host itself -> 127.0.0.1:81/tcp
                Pod shop/web: host port 81 -> 10.244.0.1:81/tcp
                Pod shop/web: host port 81 -> 10.244.0.1:81/udp
            "#]],
        );
    }

    #[test]
    fn what_is_not_the_node_s_to_give_leads_nowhere() {
        let ports = json!([
            { "containerPort": 80, "hostPort": 80, "hostIP": "10.96.0.5" },
            { "containerPort": 80, "hostPort": 80, "hostIP": "10.244.0.3" },
            { "containerPort": 80, "hostPort": 80, "hostIP": "::" },
            { "containerPort": 80, "hostPort": 80, "protocol": "SCTP" },
            { "containerPort": 80, "hostPort": 0 },
        ]);
        check(&pod(&ports), &expect![""]);
    }

    #[test]
    fn sidecars_have_host_ports_and_other_init_containers_none() {
        let mut pod = pod(&json!([]));
        let port = |number: u16| json!([{ "containerPort": 80, "hostPort": number }]);
        pod["spec"]["initContainers"] = json!([
            { "name": "first", "ports": port(80) },
            { "name": "beside", "restartPolicy": "Always", "ports": port(81) },
        ]);
        check(
            &pod,
            &expect![[r#"
                pod/a/tcp/0.0.0.0:81: 10.244.0.1:81 127.0.0.1:81 -> 10.244.0.2:80 Some("a")
                Pod shop/web: host port 81 -> 10.244.0.1:81/tcp
            "#]],
        );
    }

    #[test]
    fn a_pod_that_does_not_run_or_is_to_stop_has_none() {
        let running = pod(&json!([{ "containerPort": 80, "hostPort": 80 }]));
        assert!(has_host_ports(&serde_json::from_value(running.clone()).unwrap()));
        for (pointer, value) in [("/status/phase", json!("Succeeded")), ("/status/podIP", json!(null))] {
            let mut pod = running.clone();
            *pod.pointer_mut(pointer).unwrap() = value;
            check(&pod, &expect![""]);
        }
        let mut in_machine = running.clone();
        in_machine["spec"]["hostNetwork"] = json!(true);
        check(&in_machine, &expect![""]);
        let mut departures = Departures::default();
        let mut leaving = running;
        leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        departures.observe(&serde_json::from_value(leaving.clone()).unwrap(), Timestamp::UNIX_EPOCH);
        check_with(&leaving, &departures, &expect![""]);
    }
}
