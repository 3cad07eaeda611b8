//! Kept connections of a published port that nobody called HTTP: they outlive the pod that answers them.

use std::{
    io::{BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::Duration,
};

use serde_json::json;
use windlass_network::{
    holder::{Protocol, PublishedPort},
    proxy::Proxy,
};

use crate::{
    http::{HttpClient, HttpServer},
    services::{CLUSTER_IP, START, endpoints, proxy, service},
    world::{Pod, World, on_own_host, run},
};

fn host(address: SocketAddr) -> HttpClient {
    HttpClient { reader: BufReader::new(TcpStream::connect(address).unwrap()) }
}

/// Publishes the Service's port on the host.
async fn publish(world: &World) -> SocketAddr {
    let listen = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let port = PublishedPort { protocol: Protocol::Tcp, listen, target: (CLUSTER_IP, 80).into() };
    assert_eq!(world.holder.publish(vec![port]).await.unwrap(), []);
    listen
}

pub(crate) fn tell_of(proxy: &mut Proxy, uid: &str, pod: &Pod, is_terminating: bool) {
    let mut object = json!({
        "metadata": { "namespace": "shop", "name": uid, "uid": uid },
        "spec": { "nodeName": "here" },
        "status": { "podIP": pod.address },
    });
    if is_terminating {
        object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    }
    proxy.pod(&Arc::new(serde_json::from_value(object).unwrap()), START);
}

/// Two pods that serve, of which the Service leads to `a`.
async fn two_pods(world: &World) -> (Proxy, [Pod; 2], [HttpServer; 2]) {
    let mut proxy = proxy(world).await;
    let (a, b) = (world.pod("a").await, world.pod("b").await);
    let servers = [HttpServer::start(&a, "a"), HttpServer::start(&b, "b")];
    service(&mut proxy, &json!({ "ports": [{ "port": 80 }] }));
    tell_of(&mut proxy, "a", &a, false);
    endpoints(&mut proxy, &[("a", &a)]);
    proxy.settle(START).unwrap();
    (proxy, [a, b], servers)
}

/// Pod `a` is to stop, and `b` is there instead.
pub(crate) fn replace(proxy: &mut Proxy, a: &Pod, b: &Pod) {
    tell_of(proxy, "a", a, true);
    endpoints(proxy, &[("b", b)]);
    let settled = proxy.settle(START).unwrap();
    assert_eq!(settled.unrouted.iter().map(|pod| &pod.uid[..]).collect::<Vec<_>>(), ["a"]);
}

#[test]
fn they_go_on_to_another_pod_between_two_requests() {
    on_own_host(async {
        let world = World::new().await;
        let (mut proxy, [a, b], [first, _second]) = two_pods(&world).await;
        let listen = publish(&world).await;
        let (mut http, mut busy) = (host(listen), host(listen));
        assert_eq!(http.get().unwrap().1, "a /x   0");
        assert_eq!(busy.get().unwrap().1, "a /x   0");
        // A request that has begun ends where it began.
        busy.reader.get_mut().write_all(b"POST /y HTTP/1.1\r\nContent-Length: 2\r\n\r\n{").unwrap();
        first.wait_for_heads(3);
        replace(&mut proxy, &a, &b);
        assert_eq!(busy.ask("}").unwrap().1, "a /y   2");
        assert_eq!(busy.get().unwrap().1, "b /x   0");
        // One that rests has left its pod without having been asked anything, so nothing can be in the way of its end.
        while world.network.connections(&a.namespace.path).await.unwrap() > 0 {
            tokio::task::yield_now().await;
        }
        first.stop();
        for _ in 0..3 {
            assert_eq!(http.get().unwrap().1, "b /x   0");
        }
        assert_eq!(world.holder.status().unwrap().connections, 2);
    });
}

#[test]
fn one_whose_answer_came_early_rests_when_its_request_is_over() {
    on_own_host(async {
        let world = World::new().await;
        let (mut proxy, [a, b], _servers) = two_pods(&world).await;
        let mut http = host(publish(&world).await);
        assert_eq!(http.get().unwrap().1, "a /x   0");
        assert_eq!(http.ask("POST /no HTTP/1.1\r\nContent-Length: 2\r\n\r\n").unwrap().0, 405);
        replace(&mut proxy, &a, &b);
        http.reader.get_mut().write_all(b"{}").unwrap();
        let left = async {
            while world.network.connections(&a.namespace.path).await.unwrap() > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), left).await.expect("it stays");
        assert_eq!(http.get().unwrap().1, "b /x   0");
    });
}

#[test]
fn one_that_arrives_after_the_others_were_told_leaves_too() {
    on_own_host(async {
        let world = World::new().await;
        let (mut proxy, [a, b], _servers) = two_pods(&world).await;
        let listen = publish(&world).await;
        a.namespace.run(|| {
            run(
                "nft",
                &["add table ip late { chain input { type filter hook input priority 0; tcp flags syn counter drop; }; }"],
            );
        });
        let mut late = host(listen);
        while a.namespace.run(|| run("nft", &["list", "ruleset"])).contains("counter packets 0") {
            tokio::task::yield_now().await;
        }
        replace(&mut proxy, &a, &b);
        a.namespace.run(|| run("nft", &["flush", "ruleset"]));
        assert_eq!(late.get().unwrap().1, "a /x   0");
        assert_eq!(late.get().unwrap().1, "b /x   0");
    });
}

#[test]
fn others_stay_where_they_are() {
    on_own_host(async {
        let world = World::new().await;
        let (mut proxy, [a, b], _servers) = two_pods(&world).await;
        let listen = publish(&world).await;
        let (mut shouting, mut silent) = (host(listen), host(listen));
        let request = "GET / HTTP/1.1\r\nHost: web\r\nConnection: upgrade\r\nUpgrade: shout\r\n\r\n";
        assert_eq!(shouting.ask(request).unwrap().0, 101);
        while world.network.connections(&a.namespace.path).await.unwrap() < 2 {
            tokio::task::yield_now().await;
        }
        replace(&mut proxy, &a, &b);
        shouting.reader.get_mut().write_all(b"help").unwrap();
        let mut answer = [0; 4];
        shouting.reader.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HELP");
        // What has said nothing yet may be anything; its first exchange is with its pod, and then it is known.
        assert_eq!(silent.get().unwrap().1, "a /x   0");
        assert_eq!(silent.get().unwrap().1, "b /x   0");
    });
}
