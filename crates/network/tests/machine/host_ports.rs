//! Ports of the node that pods ask for by `hostPort`.

use std::{
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    sync::Arc,
};

use serde_json::{Value, json};
use tokio::net::TcpSocket;
use windlass_network::proxy::Proxy;

use crate::{
    api::Api,
    datagrams,
    run::{Running, ask_host},
    services::{START, proxy},
    world::{Pod, World, ask, on_own_host, run},
};

const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;
const NODE: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);

/// A pod that nobody has called ready, and that asks for a port of the node.
fn asking(uid: &str, pod: &Pod, port: &Value) -> Value {
    let mut asked = json!({ "containerPort": 8080 });
    asked.as_object_mut().unwrap().extend(port.as_object().unwrap().clone());
    json!({
        "metadata": { "namespace": "shop", "name": uid, "uid": uid },
        "spec": { "nodeName": "here", "containers": [{ "name": "main", "ports": [asked] }] },
        "status": { "phase": "Running", "podIP": pod.address },
    })
}

fn take_in(proxy: &mut Proxy, pod: Value) {
    proxy.pod(&Arc::new(serde_json::from_value(pod).unwrap()), START);
}

/// Asks from the machine itself, as a pod in its network does.
async fn ask_within(world: &World, from: Ipv4Addr, to: impl Into<SocketAddr>) -> std::io::Result<String> {
    let (from, to) = (SocketAddr::from((from, 0)), to.into());
    let connect = move || async move {
        let socket = TcpSocket::new_v4()?;
        socket.bind(from)?;
        socket.connect(to).await?.into_std()
    };
    let stream = world.machine.run(connect).await??;
    stream.set_nonblocking(false)?;
    tokio::task::spawn_blocking(|| ask(stream)).await.unwrap()
}

#[test]
fn one_port_leads_to_three_pods_by_address_and_protocol() {
    on_own_host(async {
        let world = World::new().await;
        let mut proxy = proxy(&world).await;
        let [local, node, udp] = [world.pod("local").await, world.pod("node").await, world.pod("udp").await];
        local.serve(8080, "local");
        node.serve(8080, "node");
        datagrams::serve(&udp, "udp");
        take_in(&mut proxy, asking("local", &local, &json!({ "hostPort": 54323, "hostIP": "127.0.0.1" })));
        take_in(&mut proxy, asking("node", &node, &json!({ "hostPort": 54323, "hostIP": "10.244.0.1" })));
        let port = json!({ "hostPort": 54323, "hostIP": "10.244.0.1", "protocol": "UDP" });
        take_in(&mut proxy, asking("udp", &udp, &port));
        proxy.settle(START).unwrap();
        for from in [Ipv4Addr::UNSPECIFIED, NODE, LOOPBACK] {
            assert_eq!(ask_within(&world, from, (LOOPBACK, 54323)).await.unwrap(), "local", "from {from}");
        }
        assert_eq!(ask_within(&world, Ipv4Addr::UNSPECIFIED, (NODE, 54323)).await.unwrap(), "node");
        let asked = world.machine.call(|| Ok(datagrams::ask(&datagrams::client(), (NODE, 54323).into())));
        assert_eq!(asked.await.unwrap(), "udp");
        // From pods, too, the one that has the port among them.
        assert_eq!(local.ask((NODE, 54323)).unwrap(), "node");
        assert_eq!(node.ask((NODE, 54323)).unwrap(), "node");
    });
}

#[test]
fn a_port_of_all_addresses_goes_with_its_pod_and_is_the_next_one_s() {
    on_own_host(async {
        let world = World::new().await;
        let mut proxy = proxy(&world).await;
        let (old, new) = (world.pod("old").await, world.pod("new").await);
        old.serve(8080, "old");
        new.serve(8080, "new");
        let mut leaving = asking("old", &old, &json!({ "hostPort": 80 }));
        take_in(&mut proxy, leaving.clone());
        proxy.settle(START).unwrap();
        for address in [LOOPBACK, NODE] {
            assert_eq!(ask_within(&world, Ipv4Addr::UNSPECIFIED, (address, 80)).await.unwrap(), "old");
        }
        leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        take_in(&mut proxy, leaving);
        let settled = proxy.settle(START).unwrap();
        assert_eq!(settled.unrouted.iter().map(|pod| pod.uid.as_str()).collect::<Vec<_>>(), ["old"]);
        assert_eq!(proxy.publications(), []);
        for address in [LOOPBACK, NODE] {
            let error = ask_within(&world, Ipv4Addr::UNSPECIFIED, (address, 80)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        }
        proxy.pod_deleted("shop", "old");
        take_in(&mut proxy, asking("new", &new, &json!({ "hostPort": 80 })));
        proxy.settle(START).unwrap();
        assert_eq!(ask_within(&world, Ipv4Addr::UNSPECIFIED, (LOOPBACK, 80)).await.unwrap(), "new");
    });
}

#[test]
fn the_machine_s_loopback_stays_its_own() {
    on_own_host(async {
        let world = World::new().await;
        let mut proxy = proxy(&world).await;
        let pod = world.pod("a").await;
        proxy.settle(START).unwrap();
        let socket = world.machine.udp_bind((Ipv4Addr::UNSPECIFIED, 9000).into()).await.unwrap();
        pod.namespace.run(|| {
            for local in ["127.0.0.0/8", "127.0.0.1"] {
                run("ip", &["route", "del", "local", local, "dev", "lo", "table", "local"]);
            }
            run("ip", &["route", "add", "127.0.0.1", "via", "10.244.0.1"]);
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
            socket.send_to(b"to the loopback", (LOOPBACK, 9000)).unwrap();
            socket.send_to(b"to the node", (NODE, 9000)).unwrap();
        });
        let mut datagram = [0; 64];
        let (length, from) = socket.recv_from(&mut datagram).await.unwrap();
        assert_eq!((&datagram[..length], from.ip()), (&b"to the node"[..], IpAddr::V4(pod.address)));
    });
}

#[test]
fn a_port_is_published_on_the_host_and_who_comes_second_is_told() {
    on_own_host(async {
        let (world, api) = (World::new().await, Api::default());
        let (a, b) = (world.pod("a").await, world.pod("b").await);
        a.serve(8080, "a");
        b.serve(8080, "b");
        api.put("pods", asking("a", &a, &json!({ "hostPort": 8000, "hostIP": "127.0.0.1" })));
        api.put("pods", asking("b", &b, &json!({ "hostPort": 8000, "hostIP": "10.244.0.1" })));
        let running = Running::start(&world, &api);
        assert_eq!(ask_host(8000).await, "a");
        let event = api.until(|api| api.all("events").first().cloned()).await;
        assert_eq!((&event["reason"], &event["regarding"]["kind"]), (&json!("PortNotPublished"), &json!("Pod")));
        assert_eq!((&event["regarding"]["name"], &event["regarding"]["uid"]), (&json!("b"), &json!("b")));
        assert_eq!(
            event["note"],
            "port 8000/TCP of the host can't be opened on 127.0.0.1: Pod shop/a has it; free it, or choose another port"
        );
        // The first one goes, and its port on the host is the other's.
        let mut leaving = asking("a", &a, &json!({ "hostPort": 8000, "hostIP": "127.0.0.1" }));
        leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        api.put("pods", leaving);
        while ask_host(8000).await != "b" {}
        running.stop().await;
    });
}
