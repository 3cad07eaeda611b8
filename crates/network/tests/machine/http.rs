//! The HTTP path: requests of one kept connection go wherever they should, and none of them is lost.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use serde_json::json;
use windlass_network::proxy::Proxy;

use crate::{
    services::{CLUSTER_IP, START, api_pod, endpoints, proxy, service},
    world::{Pod, World, on_own_host},
};

/// An HTTP/1.1 server that keeps connections open, and answers with its name, the path, and who it thinks the client is.
/// What it refuses, at `/no`, it refuses before it has heard all of it.
pub(crate) struct HttpServer {
    listener: Arc<TcpListener>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    heads: Arc<AtomicUsize>,
}

impl HttpServer {
    pub(crate) fn start(pod: &Pod, name: &'static str) -> Self {
        let listener = pod.namespace.run(|| Arc::new(TcpListener::bind((Ipv4Addr::UNSPECIFIED, 8080)).unwrap()));
        let server = Self { listener: listener.clone(), open: Arc::default(), heads: Arc::default() };
        let (open, heads) = (server.open.clone(), server.heads.clone());
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                open.lock().unwrap().push(stream.try_clone().unwrap());
                let heads = heads.clone();
                std::thread::spawn(move || {
                    let end = stream.try_clone().unwrap();
                    serve(stream, name, &heads);
                    let _ = end.shutdown(Shutdown::Both);
                });
            }
        });
        server
    }

    /// Waits until that many requests have begun.
    pub(crate) fn wait_for_heads(&self, count: usize) {
        while self.heads.load(Ordering::SeqCst) < count {
            std::thread::yield_now();
        }
    }

    /// Ends at once, as a program that does not care does: port and connections are closed.
    pub(crate) fn stop(self) {
        nix::sys::socket::shutdown(std::os::fd::AsRawFd::as_raw_fd(&self.listener), nix::sys::socket::Shutdown::Both).unwrap();
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn serve(stream: TcpStream, name: &str, heads: &AtomicUsize) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    while let Ok(Some((first, headers))) = read_head(&mut reader) {
        heads.fetch_add(1, Ordering::SeqCst);
        let path = first.split(' ').nth(1).unwrap().to_owned();
        if headers.get("upgrade").is_some_and(|upgrade| upgrade == "shout") {
            writer.write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: shout\r\n\r\n").unwrap();
            let mut word = [0; 4];
            reader.read_exact(&mut word).unwrap();
            writer.write_all(word.to_ascii_uppercase().as_slice()).unwrap();
            return;
        }
        let is_refused = path == "/no";
        if is_refused {
            writer.write_all(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n").unwrap();
        }
        let mut body = vec![0; headers.get("content-length").map_or(0, |length| length.parse().unwrap())];
        reader.read_exact(&mut body).unwrap();
        if is_refused {
            continue;
        }
        let none = String::new();
        let from = headers.get("x-forwarded-for").unwrap_or(&none);
        let hop = headers.get("x-private").unwrap_or(&none);
        let answer = format!("{name} {path} {from} {hop} {}", body.len());
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", answer.len());
        if writer.write_all((head + &answer).as_bytes()).is_err() {
            return;
        }
    }
}

type Headers = BTreeMap<String, String>;

/// First line and headers; none at the end of the connection.
fn read_head(reader: &mut impl BufRead) -> std::io::Result<Option<(String, Headers)>> {
    let mut first = String::new();
    if reader.read_line(&mut first)? == 0 {
        return Ok(None);
    }
    let mut headers = Headers::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        match line.trim_end().split_once(':') {
            Some((name, value)) => drop(headers.insert(name.to_ascii_lowercase(), value.trim().to_owned())),
            None => return Ok(Some((first.trim_end().to_owned(), headers))),
        }
    }
}

/// A client that keeps one connection.
pub(crate) struct HttpClient {
    pub(crate) reader: BufReader<TcpStream>,
}

impl HttpClient {
    fn connect(pod: &Pod) -> Self {
        let stream = pod.namespace.run(|| TcpStream::connect((CLUSTER_IP, 80)).unwrap());
        Self { reader: BufReader::new(stream) }
    }

    /// Sends a request's head and body, and gives the status and the body of the answer.
    pub(crate) fn ask(&mut self, request: &str) -> std::io::Result<(u16, String)> {
        self.reader.get_mut().write_all(request.as_bytes())?;
        let (first, headers) = read_head(&mut self.reader)?.ok_or(ErrorKind::UnexpectedEof)?;
        let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body)?;
        Ok((first.split(' ').nth(1).unwrap().parse().unwrap(), String::from_utf8(body).unwrap()))
    }

    pub(crate) fn get(&mut self) -> std::io::Result<(u16, String)> {
        self.ask("GET /x HTTP/1.1\r\nHost: web\r\n\r\n")
    }
}

fn http_service(proxy: &mut Proxy) {
    service(proxy, &json!({ "ports": [{ "port": 80, "appProtocol": "http" }] }));
}

#[test]
fn requests_are_passed_on_and_back() {
    on_own_host(async {
        let world = World::new().await;
        let mut proxy = proxy(&world).await;
        let (pod, client) = (world.pod("a").await, world.pod("client").await);
        let _server = HttpServer::start(&pod, "a");
        http_service(&mut proxy);
        endpoints(&mut proxy, &[("a", &pod)]);
        proxy.settle(START).unwrap();
        let mut http = HttpClient::connect(&client);
        let from = client.address;
        assert_eq!(http.get().unwrap(), (200, format!("a /x {from}  0")));
        // What is for the next hop only ends there; bodies and what is known of hops before go on.
        let request = "POST /y?z=1 HTTP/1.1\r\nHost: web\r\nConnection: x-private\r\nX-Private: 1\r\nX-Forwarded-For: 192.0.2.1\r\n\
                       Content-Length: 5\r\n\r\nhello";
        assert_eq!(http.ask(request).unwrap(), (200, format!("a /y?z=1 192.0.2.1, {from}  5")));
        let counts = world.holder.http_counts().unwrap();
        assert_eq!((counts.len(), counts[0].requests, counts[0].failures), (1, 2, 0));
        assert_eq!(counts[0].route, "shop/web/tcp/");
    });
}

#[test]
fn another_protocol_can_be_spoken_from_then_on() {
    on_own_host(async {
        let world = World::new().await;
        let mut proxy = proxy(&world).await;
        let (pod, client) = (world.pod("a").await, world.pod("client").await);
        let _server = HttpServer::start(&pod, "a");
        http_service(&mut proxy);
        endpoints(&mut proxy, &[("a", &pod)]);
        proxy.settle(START).unwrap();
        let mut http = HttpClient::connect(&client);
        let request = "GET / HTTP/1.1\r\nHost: web\r\nConnection: upgrade\r\nUpgrade: shout\r\n\r\n";
        assert_eq!(http.ask(request).unwrap().0, 101);
        http.reader.get_mut().write_all(b"help").unwrap();
        let mut answer = [0; 4];
        http.reader.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HELP");
    });
}

#[test]
fn an_endpoint_that_does_not_take_a_request_is_passed_over() {
    on_own_host(async {
        let world = World::new().await;
        let mut proxy = proxy(&world).await;
        let (dead, pod, client) = (world.pod("dead").await, world.pod("a").await, world.pod("client").await);
        let _server = HttpServer::start(&pod, "a");
        http_service(&mut proxy);
        endpoints(&mut proxy, &[("dead", &dead), ("a", &pod)]);
        proxy.settle(START).unwrap();
        let mut http = HttpClient::connect(&client);
        for _ in 0..10 {
            assert_eq!(http.get().unwrap().0, 200);
        }
    });
}

#[test]
fn shares_of_requests_are_exact() {
    on_own_host(async {
        let world = World::new().await;
        let mut proxy = proxy(&world).await;
        let (old, new, client) = (world.pod("old").await, world.pod("new").await, world.pod("client").await);
        let _servers = (HttpServer::start(&old, "old"), HttpServer::start(&new, "new"));
        let service = json!({
            "metadata": { "namespace": "shop", "name": "web", "annotations": { "windlass.dev/split": "v1=75,v2=25" } },
            "spec": { "clusterIP": CLUSTER_IP, "ports": [{ "port": 80, "appProtocol": "http" }] },
        });
        proxy.service(Arc::new(serde_json::from_value(service).unwrap()));
        endpoints(&mut proxy, &[("old", &old), ("new", &new)]);
        for (uid, revision) in [("old", "v1"), ("new", "v2")] {
            let pod = json!({
                "metadata": { "namespace": "shop", "name": uid, "uid": uid, "labels": { "pod-template-hash": revision } },
            });
            proxy.pod(&Arc::new(serde_json::from_value(pod).unwrap()), START);
        }
        proxy.settle(START).unwrap();
        let mut http = HttpClient::connect(&client);
        for _ in 0..40 {
            assert_eq!(http.get().unwrap().0, 200);
        }
        let counts = world.holder.http_counts().unwrap();
        let counts: Vec<_> = counts.iter().map(|counts| (counts.revision.as_str(), counts.requests)).collect();
        assert_eq!(counts, [("v1", 30), ("v2", 10)]);
    });
}

/// Pods come and go under clients that keep their connections; each pod ends without waiting for anybody.
#[test]
fn no_request_of_a_kept_connection_is_lost_while_endpoints_change() {
    on_own_host(async {
        const GENERATIONS: [&str; 12] = ["p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8", "p9", "p10", "p11"];
        let world = World::new().await;
        let mut proxy = proxy(&world).await;
        let client = world.pod("client").await;
        http_service(&mut proxy);
        let mut old = world.pod(GENERATIONS[0]).await;
        let mut old_server = HttpServer::start(&old, GENERATIONS[0]);
        endpoints(&mut proxy, &[(GENERATIONS[0], &old)]);
        proxy.settle(START).unwrap();
        let (running, answered) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
        let loads: Vec<_> = (0..4)
            .map(|_| {
                let mut http = HttpClient::connect(&client);
                let (running, answered) = (running.clone(), answered.clone());
                std::thread::spawn(move || {
                    while running.load(Ordering::Relaxed) {
                        // One connection for all, so the first that fails ends the test.
                        assert_eq!(http.get().unwrap().0, 200);
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        for pair in GENERATIONS.windows(2) {
            let until = answered.load(Ordering::Relaxed) + 50;
            while answered.load(Ordering::Relaxed) < until && !loads.iter().any(std::thread::JoinHandle::is_finished) {
                tokio::task::yield_now().await;
            }
            let new = world.pod(pair[1]).await;
            let new_server = HttpServer::start(&new, pair[1]);
            endpoints(&mut proxy, &[(pair[0], &old), (pair[1], &new)]);
            proxy.settle(START).unwrap();
            api_pod(&mut proxy, pair[0], true);
            assert_eq!(proxy.settle(START).unwrap().unrouted.len(), 1);
            // Idle connections are closed at once, those in use after their request.
            while world.network.connections(&old.namespace.path).await.unwrap() > 0 {
                tokio::task::yield_now().await;
            }
            std::mem::replace(&mut old_server, new_server).stop();
            drop(std::mem::replace(&mut old, new));
            world.network.detach(pair[0]).await.unwrap();
        }
        running.store(false, Ordering::Relaxed);
        loads.into_iter().for_each(|load| load.join().unwrap());
    });
}
