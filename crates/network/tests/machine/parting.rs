//! Kept connections between pods: the clients of a pod that is to stop are asked to close, and bytes arrive as they were sent.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream},
    os::fd::AsRawFd,
    sync::{Arc, Barrier},
    time::Duration,
};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect as connect_to, setsockopt, socket, sockopt::ReuseAddr,
};
use serde_json::json;
use windlass_network::proxy::Proxy;

use crate::{
    kept::{replace, tell_of},
    services::{CLUSTER_IP, START, endpoints, proxy, service},
    world::{Pod, World, on_own_host, run},
};

const HEAD: &str = "HTTP/1.1 200 OK\r\nDate: Wed, 25 Nov 2026 04:00:00 GMT\r\nContent-Length: ";

/// A body that looks like answers wherever it is cut.
fn body() -> String {
    format!("{HEAD}2\r\n\r\nok").repeat(40_000)
}

/// Answers every request on kept connections with its name; `/long` with a body in two halves, and waits twice between them.
fn serve(pod: &Pod, name: &'static str, go_on: Arc<Barrier>) {
    let listener = pod.namespace.run(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 8080)).unwrap());
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let go_on = go_on.clone();
            std::thread::spawn(move || answer(stream, name, &go_on));
        }
    });
}

fn answer(mut stream: TcpStream, name: &str, go_on: &Barrier) {
    let mut request = [0; 1024];
    while let Ok(length @ 1..) = stream.read(&mut request) {
        let is_long = request[..length].starts_with(b"GET /long");
        let body = if is_long { body() } else { name.to_owned() };
        let (first, second) = body.split_at(body.len() / 2);
        stream.write_all(format!("{HEAD}{}\r\n\r\n{first}", body.len()).as_bytes()).unwrap();
        if is_long {
            go_on.wait();
            go_on.wait();
        }
        stream.write_all(second.as_bytes()).unwrap();
    }
}

fn connect(client: &Pod) -> TcpStream {
    client.namespace.run(|| TcpStream::connect((CLUSTER_IP, 80)).unwrap())
}

/// The head and the body of one answer.
fn ask(stream: &mut TcpStream, path: &str) -> (String, String) {
    begin(stream, path);
    read(stream)
}

fn begin(stream: &mut TcpStream, path: &str) {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: web\r\n\r\n").as_bytes()).unwrap();
}

fn read(stream: &mut TcpStream) -> (String, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.split_once("Content-Length: ").unwrap().1.trim().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    (head, String::from_utf8(body).unwrap())
}

async fn two_pods(world: &World) -> (Proxy, Pod, Pod, Arc<Barrier>) {
    let mut proxy = proxy(world).await;
    let (a, b) = (world.pod("a").await, world.pod("b").await);
    let go_on = Arc::new(Barrier::new(2));
    serve(&a, "a", go_on.clone());
    serve(&b, "b", go_on.clone());
    service(&mut proxy, &json!({ "ports": [{ "port": 80 }] }));
    tell_of(&mut proxy, "a", &a, false);
    endpoints(&mut proxy, &[("a", &a)]);
    proxy.settle(START).unwrap();
    (proxy, a, b, go_on)
}

async fn rules(world: &World) -> String {
    world.machine.call(|| Ok(run("ip", &["rule"]))).await.unwrap()
}

#[test]
fn answers_ask_to_close() {
    on_own_host(async {
        let world = World::new().await;
        let client = world.pod("client").await;
        let (mut proxy, a, b, _) = two_pods(&world).await;
        // Through the Service, and past it.
        let (mut kept, address) = (connect(&client), a.address);
        let mut direct = client.namespace.run(move || TcpStream::connect((address, 8080)).unwrap());
        let mut inside = world.machine.call(|| TcpStream::connect((CLUSTER_IP, 80))).await.unwrap();
        let mut itself = connect(&a);
        let mut probe = world.machine.call(move || TcpStream::connect((address, 8080))).await.unwrap();
        let plain = format!("{HEAD}1\r\n\r\n");
        assert_eq!(ask(&mut kept, "/"), (plain.clone(), "a".to_owned()));
        assert_eq!(ask(&mut direct, "/").0, plain);
        assert_eq!(ask(&mut inside, "/").0, plain);
        assert_eq!(ask(&mut itself, "/").0, plain);
        assert_eq!(ask(&mut probe, "/").0, plain);
        replace(&mut proxy, &a, &b);
        let closing = plain.replace("Date: Wed, 25 Nov 2026 04:00:00 GMT", "Connection: close\r\nX:--------------");
        for stream in [&mut kept, &mut direct, &mut inside] {
            // It might be the end of a long one.
            assert_eq!(ask(stream, "/").0, plain);
            // A client that does not listen is asked again.
            for _ in 0..3 {
                assert_eq!(ask(stream, "/"), (closing.clone(), "a".to_owned()));
            }
        }
        assert_eq!(ask(&mut connect(&client), "/"), (plain.clone(), "b".to_owned()));
        // What the pod asks itself is answered as before, and so is what the machine asks it by its own address.
        for stream in [&mut itself, &mut probe] {
            for _ in 0..3 {
                assert_eq!(ask(stream, "/"), (plain.clone(), "a".to_owned()));
            }
        }
        // Connections begun now are answered, whoever asks.
        let mut late = client.namespace.run(move || TcpStream::connect((address, 8080)).unwrap());
        let mut probe = world.machine.call(move || TcpStream::connect((address, 8080))).await.unwrap();
        assert_eq!([ask(&mut late, "/").1, ask(&mut probe, "/").1], ["a", "a"]);
        // Connections begun by the pod itself go the same way, and get where they go.
        let (mut own, pod) = (a.namespace.run(|| TcpStream::connect((CLUSTER_IP, 80)).unwrap()), b.address);
        let mut other = a.namespace.run(move || TcpStream::connect((pod, 8080)).unwrap());
        assert_eq!([ask(&mut own, "/").1, ask(&mut other, "/").1], ["b", "b"]);
        assert!(rules(&world).await.contains(&format!("from {} iif", a.address)));
        proxy.pod_deleted("shop", "a");
        proxy.settle(START).unwrap();
        assert!(!rules(&world).await.contains("lookup 100"));
    });
}

/// Connects from this port, which another connection may have, too.
fn connect_from(port: u16, to: (Ipv4Addr, u16)) -> std::io::Result<TcpStream> {
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, ReuseAddr, &true)?;
    bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port)))?;
    connect_to(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(to.0, to.1)))?;
    Ok(socket.into())
}

#[test]
fn one_port_may_have_a_connection_through_the_service_and_one_past_it() {
    on_own_host(async {
        let world = World::new().await;
        let (mut proxy, a, b, _) = two_pods(&world).await;
        let address = a.address;
        let mut probe = world.machine.call(move || connect_from(40_000, (address, 8080))).await.unwrap();
        let mut led = world.machine.call(|| connect_from(40_000, (CLUSTER_IP, 80))).await.unwrap();
        led.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let answers = |stream: &mut TcpStream| ask(stream, "/").1;
        assert_eq!([answers(&mut probe), answers(&mut led)], ["a", "a"]);
        replace(&mut proxy, &a, &b);
        for _ in 0..3 {
            assert_eq!(answers(&mut led), "a");
        }
        assert_eq!(answers(&mut probe), "a");
    });
}

#[test]
fn an_answer_that_is_under_way_arrives_as_it_was_sent() {
    on_own_host(async {
        let world = World::new().await;
        let client = world.pod("client").await;
        let (mut proxy, a, b, go_on) = two_pods(&world).await;
        let mut kept = connect(&client);
        let mut reader = kept.try_clone().unwrap();
        let long = std::thread::spawn(move || {
            begin(&mut kept, "/long");
            read(&mut kept).1
        });
        go_on.wait();
        replace(&mut proxy, &a, &b);
        go_on.wait();
        assert!(long.join().unwrap() == body());
        assert!(ask(&mut reader, "/").0.contains("\r\nConnection: close\r\n"));
    });
}

/// The holder asks on while the main process is away, and the next one knows of the pods again, or that they are gone.
#[test]
fn a_main_process_that_goes_away_changes_nothing() {
    on_own_host(async {
        let world = World::new().await;
        let client = world.pod("client").await;
        let (mut first, a, b, _) = two_pods(&world).await;
        let mut kept = connect(&client);
        ask(&mut kept, "/");
        replace(&mut first, &a, &b);
        drop(first);
        ask(&mut kept, "/");
        assert!(ask(&mut kept, "/").0.contains("\r\nConnection: close\r\n"));
        let next = async || {
            let mut next = proxy(&world).await;
            service(&mut next, &json!({ "ports": [{ "port": 80 }] }));
            endpoints(&mut next, &[("b", &b)]);
            next
        };
        let mut second = next().await;
        tell_of(&mut second, "a", &a, true);
        second.settle(START).unwrap();
        assert!(ask(&mut kept, "/").0.contains("\r\nConnection: close\r\n"));
        drop(second);
        next().await.settle(START).unwrap();
        assert!(!rules(&world).await.contains("lookup 100"));
        assert!(!ask(&mut kept, "/").0.contains("\r\nConnection: close\r\n"));
    });
}
