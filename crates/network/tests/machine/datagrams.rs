//! UDP: Services in the kernel, ports of the host, and the way out.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use serde_json::json;
use windlass_network::holder::{Protocol, PublishedPort};

use crate::{
    services::{CLUSTER_IP, START, endpoints_over, proxy, service},
    world::{Pod, World, on_own_host, run},
};

/// Answers every datagram with a name.
pub(crate) fn serve(pod: &Pod, name: &'static str) {
    let socket = pod.namespace.run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 8080)).unwrap());
    std::thread::spawn(move || {
        let mut datagram = [0; 64];
        while let Ok((_, from)) = socket.recv_from(&mut datagram) {
            let _ = socket.send_to(name.as_bytes(), from);
        }
    });
}

/// A socket that gives up.
pub(crate) fn client() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket
}

pub(crate) fn ask(socket: &UdpSocket, address: SocketAddr) -> String {
    socket.send_to(b"?", address).unwrap();
    let mut datagram = [0; 64];
    let (length, from) = socket.recv_from(&mut datagram).unwrap();
    assert_eq!(from, address);
    String::from_utf8(datagram[..length].to_vec()).unwrap()
}

#[test]
fn a_client_stays_with_its_backend_whatever_its_port() {
    on_own_host(async {
        let world = World::new().await;
        let mut proxy = proxy(&world).await;
        let (a, b, asking) = (world.pod("a").await, world.pod("b").await, world.pod("client").await);
        serve(&a, "a");
        serve(&b, "b");
        service(&mut proxy, &json!({ "ports": [{ "port": 53, "protocol": "UDP" }], "sessionAffinity": "ClientIP" }));
        endpoints_over(&mut proxy, &[("a", &a), ("b", &b)], "UDP");
        proxy.settle(START).unwrap();
        let answers: BTreeSet<_> = (0..30).map(|_| asking.namespace.run(|| ask(&client(), (CLUSTER_IP, 53).into()))).collect();
        assert_eq!(answers.len(), 1, "{answers:?}");
        // Its backend goes: the other one it is, from then on.
        let (name, other) = if answers.contains("a") { ("b", &b) } else { ("a", &a) };
        endpoints_over(&mut proxy, &[(name, other)], "UDP");
        proxy.settle(START).unwrap();
        assert_eq!(asking.namespace.run(|| ask(&client(), (CLUSTER_IP, 53).into())), name);
    });
}

#[test]
fn a_port_of_the_host_follows_the_endpoints() {
    on_own_host(async {
        let world = World::new().await;
        let mut proxy = proxy(&world).await;
        let (a, b) = (world.pod("a").await, world.pod("b").await);
        serve(&a, "a");
        serve(&b, "b");
        service(&mut proxy, &json!({ "ports": [{ "port": 53, "protocol": "UDP" }] }));
        endpoints_over(&mut proxy, &[("a", &a)], "UDP");
        proxy.settle(START).unwrap();
        let listen = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let port = PublishedPort { protocol: Protocol::Udp, listen, target: (CLUSTER_IP, 53).into() };
        assert_eq!(world.holder.publish(vec![port]).await.unwrap(), []);
        let socket = client();
        assert_eq!(ask(&socket, listen), "a");
        endpoints_over(&mut proxy, &[("b", &b)], "UDP");
        proxy.settle(START).unwrap();
        assert_eq!(ask(&socket, listen), "b");
    });
}

#[test]
fn datagrams_follow_the_endpoints() {
    on_own_host(async {
        let world = World::new().await;
        let mut proxy = proxy(&world).await;
        let (a, b, client) = (world.pod("a").await, world.pod("b").await, world.pod("client").await);
        let bind = |pod: &Pod| pod.namespace.run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 8080)).unwrap());
        let (a_socket, b_socket) = (bind(&a), bind(&b));
        service(&mut proxy, &json!({ "ports": [{ "port": 53, "protocol": "UDP" }] }));
        endpoints_over(&mut proxy, &[("a", &a)], "UDP");
        proxy.settle(START).unwrap();
        let socket = client.namespace.run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap());
        let mut buffer = [0; 8];
        socket.send_to(b"one", (CLUSTER_IP, 53)).unwrap();
        assert_eq!(a_socket.recv(&mut buffer).unwrap(), 3);
        endpoints_over(&mut proxy, &[("b", &b)], "UDP");
        proxy.settle(START).unwrap();
        // The same client, which to connection tracking is the same flow.
        socket.send_to(b"two", (CLUSTER_IP, 53)).unwrap();
        let (_, from) = b_socket.recv_from(&mut buffer).unwrap();
        b_socket.send_to(b"yes", from).unwrap();
        let (_, from) = socket.recv_from(&mut buffer).unwrap();
        assert_eq!(from, SocketAddr::from((CLUSTER_IP, 53)));
    });
}

#[test]
fn datagrams_of_pods_reach_the_outside_and_come_back() {
    on_own_host(async {
        run("ip", &["address", "add", "192.0.2.7/32", "dev", "lo"]);
        // Two servers that say who they are, and from where they were asked.
        let servers = ["one", "two"].map(|name| {
            let socket = UdpSocket::bind((Ipv4Addr::new(192, 0, 2, 7), 0)).unwrap();
            let address = socket.local_addr().unwrap();
            std::thread::spawn(move || {
                let mut datagram = [0; 64];
                while let Ok((length, from)) = socket.recv_from(&mut datagram) {
                    let asked = std::str::from_utf8(&datagram[..length]).unwrap();
                    socket.send_to(format!("{name} {asked} {}", from.ip()).as_bytes(), from).unwrap();
                }
            });
            address
        });
        let world = World::new().await;
        let mut proxy = proxy(&world).await;
        let pods = [world.pod("a").await, world.pod("b").await];
        proxy.settle(START).unwrap();
        for pod in &pods {
            let answers = pod.namespace.run(move || {
                // Both from one port, as a resolver asks its servers.
                let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 5000)).unwrap();
                socket.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
                let mut answers = BTreeSet::new();
                for round in ["1", "2"] {
                    for server in servers {
                        socket.send_to(round.as_bytes(), server).unwrap();
                    }
                    for _ in servers {
                        let mut datagram = [0; 64];
                        let (length, from) = socket.recv_from(&mut datagram).unwrap();
                        assert!(servers.contains(&from), "answered from {from}");
                        answers.insert(String::from_utf8(datagram[..length].to_vec()).unwrap());
                    }
                }
                answers
            });
            let expected = ["one 1", "one 2", "two 1", "two 2"].map(|answer| format!("{answer} 192.0.2.7"));
            assert_eq!(answers, BTreeSet::from(expected));
        }
        // The port itself leads nowhere, and goes on working.
        let port = world.holder.status().unwrap().egress_udp_port.unwrap();
        pods[0].namespace.run(move || {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
            socket.send_to(b"?", (Ipv4Addr::new(10, 244, 0, 1), port)).unwrap();
            socket.send_to(b"?", servers[0]).unwrap();
            socket.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
            let mut datagram = [0; 64];
            let (length, _) = socket.recv_from(&mut datagram).unwrap();
            assert_eq!(&datagram[..length], b"one ? 192.0.2.7");
        });
    });
}

#[test]
fn datagrams_of_the_machine_itself_reach_the_outside_and_come_back() {
    on_own_host(async {
        run("ip", &["address", "add", "192.0.2.7/32", "dev", "lo"]);
        let server = UdpSocket::bind((Ipv4Addr::new(192, 0, 2, 7), 0)).unwrap();
        let address = server.local_addr().unwrap();
        std::thread::spawn(move || {
            let (_, from) = server.recv_from(&mut [0; 64]).unwrap();
            server.send_to(from.ip().to_string().as_bytes(), from).unwrap();
        });
        let world = World::new().await;
        proxy(&world).await.settle(START).unwrap();
        let asked = world.machine.run(move || async move { ask(&client(), address) });
        assert_eq!(asked.await.unwrap(), "192.0.2.7");
    });
}
