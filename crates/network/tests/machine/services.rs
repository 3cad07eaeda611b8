//! Services in the kernel: real pods, real connections, and none of them lost.

use std::{
    collections::BTreeSet,
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use jiff::Timestamp;
use serde_json::{Value, json};
use windlass_network::{Addresses, proxy::Proxy};

use crate::world::{Pod, World, ask, on_own_host, run};

pub(crate) const CLUSTER_IP: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 5);
pub(crate) const START: Timestamp = Timestamp::UNIX_EPOCH;

pub(crate) async fn proxy(world: &World) -> Proxy {
    Proxy::open(&world.machine, Some(world.holder.clone()), Addresses::default(), "here").await.unwrap()
}

pub(crate) fn service(proxy: &mut Proxy, spec: &Value) {
    let mut service = json!({ "metadata": { "namespace": "shop", "name": "web" }, "spec": { "clusterIP": CLUSTER_IP } });
    service["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    proxy.service(Arc::new(serde_json::from_value(service).unwrap()));
}

fn web() -> Value {
    json!({ "ports": [{ "port": 80 }] })
}

/// The Service's slice: these pods, all ready.
pub(crate) fn endpoints(proxy: &mut Proxy, pods: &[(&str, &Pod)]) {
    endpoints_over(proxy, pods, "TCP");
}

pub(crate) fn endpoints_over(proxy: &mut Proxy, pods: &[(&str, &Pod)], protocol: &str) {
    let endpoint = |(uid, pod): &(&str, &Pod)| json!({ "addresses": [pod.address], "conditions": { "ready": true }, "targetRef": { "kind": "Pod", "uid": uid } });
    let slice = json!({
        "metadata": { "namespace": "shop", "name": "web-1", "labels": { "kubernetes.io/service-name": "web" } },
        "addressType": "IPv4",
        "endpoints": pods.iter().map(endpoint).collect::<Vec<_>>(),
        "ports": [{ "port": 8080, "protocol": protocol }],
    });
    proxy.slice(Arc::new(serde_json::from_value(slice).unwrap()));
}

pub(crate) fn api_pod(proxy: &mut Proxy, uid: &str, terminating: bool) {
    let mut pod = json!({ "metadata": { "namespace": "shop", "name": uid, "uid": uid }, "spec": { "nodeName": "here" } });
    if terminating {
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    }
    proxy.pod(&Arc::new(serde_json::from_value(pod).unwrap()), START);
}

#[test]
fn a_service_leads_to_all_its_pods() {
    on_own_host(async {
        let world = World::new().await;
        let mut proxy = proxy(&world).await;
        let (a, b, client) = (world.pod("a").await, world.pod("b").await, world.pod("client").await);
        a.serve(8080, "a");
        b.serve(8080, "b");
        service(&mut proxy, &web());
        endpoints(&mut proxy, &[("a", &a), ("b", &b)]);
        proxy.settle(START).unwrap();
        let answers: BTreeSet<_> = (0..100).map(|_| client.ask((CLUSTER_IP, 80)).unwrap()).collect();
        assert_eq!(answers, BTreeSet::from(["a".to_owned(), "b".to_owned()]));
        assert_eq!(client.ask((CLUSTER_IP, 81)).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        // From the machine itself, too.
        world.network.connect((CLUSTER_IP, 80).into()).await.unwrap();
    });
}

#[test]
fn a_pod_reaches_itself_through_its_service() {
    on_own_host(async {
        let world = World::new().await;
        let mut proxy = proxy(&world).await;
        let pod = world.pod("a").await;
        pod.serve(8080, "me");
        service(&mut proxy, &web());
        endpoints(&mut proxy, &[("a", &pod)]);
        proxy.settle(START).unwrap();
        assert_eq!(pod.ask((CLUSTER_IP, 80)).unwrap(), "me");
    });
}

#[test]
fn node_ports_answer_on_the_machine() {
    on_own_host(async {
        let world = World::new().await;
        let mut proxy = proxy(&world).await;
        let (pod, client) = (world.pod("a").await, world.pod("client").await);
        pod.serve(8080, "a");
        service(&mut proxy, &json!({ "type": "NodePort", "ports": [{ "port": 80, "nodePort": 30080 }] }));
        endpoints(&mut proxy, &[("a", &pod)]);
        proxy.settle(START).unwrap();
        let machine = Ipv4Addr::new(10, 244, 0, 1);
        assert_eq!(client.ask((machine, 30080)).unwrap(), "a");
        world.network.connect((machine, 30080).into()).await.unwrap();
        let publications = proxy.publications();
        assert_eq!(publications.len(), 1);
        assert_eq!(publications[0].host_port, 30080);
    });
}

#[test]
fn without_endpoints_connections_are_refused() {
    on_own_host(async {
        let world = World::new().await;
        let mut proxy = proxy(&world).await;
        let client = world.pod("client").await;
        service(&mut proxy, &web());
        proxy.settle(START).unwrap();
        assert_eq!(client.ask((CLUSTER_IP, 80)).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        let error = world.network.connect((CLUSTER_IP, 80).into()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn an_established_connection_goes_on_after_its_pod_is_out() {
    on_own_host(async {
        let world = World::new().await;
        let mut proxy = proxy(&world).await;
        let (a, b, client) = (world.pod("a").await, world.pod("b").await, world.pod("client").await);
        a.serve(8080, "a");
        b.serve(8080, "b");
        service(&mut proxy, &web());
        endpoints(&mut proxy, &[("a", &a)]);
        api_pod(&mut proxy, "a", false);
        proxy.settle(START).unwrap();
        let mut open = client.namespace.run(|| TcpStream::connect((CLUSTER_IP, 80)).unwrap());
        endpoints(&mut proxy, &[("a", &a), ("b", &b)]);
        api_pod(&mut proxy, "a", true);
        let settled = proxy.settle(START).unwrap();
        assert_eq!(settled.unrouted.iter().map(|pod| pod.uid.as_str()).collect::<Vec<_>>(), ["a"]);
        assert_eq!(client.ask((CLUSTER_IP, 80)).unwrap(), "b");
        open.write_all(b"?").unwrap();
        let mut answer = String::new();
        open.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "a");
    });
}

#[test]
fn the_last_pod_serves_until_its_time_is_over() {
    on_own_host(async {
        let world = World::new().await;
        let mut proxy = proxy(&world).await;
        let (pod, client) = (world.pod("a").await, world.pod("client").await);
        pod.serve(8080, "a");
        service(&mut proxy, &web());
        endpoints(&mut proxy, &[("a", &pod)]);
        api_pod(&mut proxy, "a", true);
        let settled = proxy.settle(START).unwrap();
        assert_eq!(settled.unrouted, []);
        assert_eq!(client.ask((CLUSTER_IP, 80)).unwrap(), "a");
        let settled = proxy.settle(settled.wake_at.unwrap()).unwrap();
        assert_eq!(settled.unrouted.len(), 1);
        assert_eq!(settled.wake_at, None);
        assert_eq!(client.ask((CLUSTER_IP, 80)).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_pod_that_no_service_selects_is_told_at_once() {
    on_own_host(async {
        let world = World::new().await;
        let mut proxy = proxy(&world).await;
        api_pod(&mut proxy, "a", true);
        assert_eq!(proxy.settle(START).unwrap().unrouted.len(), 1);
        assert_eq!(proxy.settle(START).unwrap().unrouted, []);
    });
}

#[test]
fn a_client_stays_with_its_backend() {
    on_own_host(async {
        let world = World::new().await;
        let mut proxy = proxy(&world).await;
        let (a, b, client) = (world.pod("a").await, world.pod("b").await, world.pod("client").await);
        a.serve(8080, "a");
        b.serve(8080, "b");
        service(&mut proxy, &json!({ "ports": [{ "port": 80 }], "sessionAffinity": "ClientIP" }));
        endpoints(&mut proxy, &[("a", &a), ("b", &b)]);
        proxy.settle(START).unwrap();
        let first = client.ask((CLUSTER_IP, 80)).unwrap();
        for _ in 0..30 {
            assert_eq!(client.ask((CLUSTER_IP, 80)).unwrap(), first);
        }
    });
}

/// A server on an address that is the host's and not the machine's: it tells its one client from where that came, and closes.
fn outside() -> (SocketAddr, std::thread::JoinHandle<()>) {
    const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);
    run("ip", &["address", "add", "192.0.2.7/32", "dev", "lo"]);
    let listener = TcpListener::bind((OUTSIDE, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, from) = listener.accept().unwrap();
        stream.read_exact(&mut [0]).unwrap();
        stream.write_all(from.ip().to_string().as_bytes()).unwrap();
    });
    (address, server)
}

#[test]
fn pods_reach_the_outside_from_the_host() {
    on_own_host(async {
        let (address, server) = outside();
        let world = World::new().await;
        let mut proxy = proxy(&world).await;
        let pod = world.pod("a").await;
        proxy.settle(START).unwrap();
        // The host's own address is what the outside sees.
        assert_eq!(pod.ask(address).unwrap(), "192.0.2.7");
        server.join().unwrap();
        assert_eq!(pod.ask(address).unwrap_err().kind(), ErrorKind::ConnectionReset);
        // The port itself leads nowhere.
        let port = world.holder.status().unwrap().egress_port.unwrap();
        assert!(pod.ask((Ipv4Addr::new(10, 244, 0, 1), port)).is_err());
    });
}

#[test]
fn the_machine_itself_reaches_the_outside_and_external_addresses_of_services() {
    on_own_host(async {
        let (address, server) = outside();
        let world = World::new().await;
        let mut proxy = proxy(&world).await;
        let pod = world.pod("a").await;
        pod.serve(8080, "a");
        service(&mut proxy, &json!({ "ports": [{ "port": 80 }], "externalIPs": ["203.0.113.5"] }));
        endpoints(&mut proxy, &[("a", &pod)]);
        proxy.settle(START).unwrap();
        let ask_within = |address: SocketAddr| {
            let stream = world.network.connect(address);
            async {
                let stream = stream.await?.into_std()?;
                stream.set_nonblocking(false)?;
                tokio::task::spawn_blocking(|| ask(stream)).await.unwrap()
            }
        };
        assert_eq!(ask_within(address).await.unwrap(), "192.0.2.7");
        server.join().unwrap();
        assert_eq!(ask_within((Ipv4Addr::new(203, 0, 113, 5), 80).into()).await.unwrap(), "a");
        // The port that leads there leads nowhere itself.
        let port = world.holder.status().unwrap().egress_port.unwrap();
        assert!(ask_within((Ipv4Addr::new(10, 244, 0, 1), port).into()).await.is_err());
        // Packets of pods find no such way: what the rules don't lead would go round in the machine.
        let (from, link) = (pod.address.to_string(), format!("wl{:08x}", pod.address.to_bits()));
        let get = move || Command::new("ip").args(["route", "get", "192.0.2.7", "from", &from, "iif", &link]).output();
        let found = world.machine.call(get).await.unwrap();
        assert!(String::from_utf8_lossy(&found.stderr).contains("Network is unreachable"), "{found:?}");
    });
}

#[test]
fn a_restart_takes_over_without_a_gap() {
    on_own_host(async {
        let world = World::new().await;
        let (a, b, client) = (world.pod("a").await, world.pod("b").await, world.pod("client").await);
        a.serve(8080, "a");
        b.serve(8080, "b");
        let mut first = proxy(&world).await;
        service(&mut first, &web());
        endpoints(&mut first, &[("a", &a)]);
        first.settle(START).unwrap();
        drop(first);
        let mut second = proxy(&world).await;
        assert_eq!(client.ask((CLUSTER_IP, 80)).unwrap(), "a");
        service(&mut second, &web());
        endpoints(&mut second, &[("b", &b)]);
        second.settle(START).unwrap();
        assert_eq!(client.ask((CLUSTER_IP, 80)).unwrap(), "b");
    });
}

/// The heart of the matter: pods come and go as in a rollout, each closing its port at once when told to, under new connections.
#[test]
fn no_connection_is_lost_while_endpoints_change() {
    on_own_host(async {
        const GENERATIONS: [&str; 20] = [
            "p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8", "p9", "p10", "p11", "p12", "p13", "p14", "p15", "p16", "p17",
            "p18", "p19",
        ];
        let world = World::new().await;
        let mut proxy = proxy(&world).await;
        let client = Arc::new(world.pod("client").await);
        service(&mut proxy, &web());
        let mut old = world.pod(GENERATIONS[0]).await;
        let mut old_server = old.serve(8080, GENERATIONS[0]);
        endpoints(&mut proxy, &[(GENERATIONS[0], &old)]);
        proxy.settle(START).unwrap();

        let (running, answered) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
        let load = {
            let (client, running, answered) = (client.clone(), running.clone(), answered.clone());
            std::thread::spawn(move || {
                let mut lost = Vec::new();
                while running.load(Ordering::Relaxed) {
                    match client.ask((CLUSTER_IP, 80)) {
                        Ok(answer) if !answer.is_empty() => drop(answered.fetch_add(1, Ordering::Relaxed)),
                        other => lost.push(other),
                    }
                }
                lost
            })
        };
        for pair in GENERATIONS.windows(2) {
            // Under load for a while in each state.
            let until = answered.load(Ordering::Relaxed) + 20;
            while answered.load(Ordering::Relaxed) < until {
                tokio::task::yield_now().await;
            }
            let new = world.pod(pair[1]).await;
            let new_server = new.serve(8080, pair[1]);
            endpoints(&mut proxy, &[(pair[0], &old), (pair[1], &new)]);
            proxy.settle(START).unwrap();
            api_pod(&mut proxy, pair[0], true);
            assert_eq!(proxy.settle(START).unwrap().unrouted.len(), 1);
            while world.network.connections(&old.namespace.path).await.unwrap() > 0 {
                tokio::task::yield_now().await;
            }
            std::mem::replace(&mut old_server, new_server).stop();
            drop(std::mem::replace(&mut old, new));
            world.network.detach(pair[0]).await.unwrap();
            proxy.pod_deleted("shop", pair[0]);
        }
        running.store(false, Ordering::Relaxed);
        let lost = load.join().unwrap();
        assert!(lost.is_empty(), "{} of {} lost: {:?}", lost.len(), answered.load(Ordering::Relaxed), lost[0]);
    });
}
