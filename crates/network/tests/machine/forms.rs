//! The HTTP path with requests of every form: old and new versions, bodies with and without a length, and what must not get through.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
};

use axum::{Router, body::Body, extract::Request, http::Version, response::Response, routing::any};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;

use crate::{
    services::{CLUSTER_IP, START, endpoints, proxy, service},
    world::{Pod, World, on_own_host},
};

/// What it was asked, in one line; or, under `/echo`, the body as it comes, what it ends with included.
async fn answer(request: Request) -> Response {
    let header = |name: &str| request.headers().get(name).map_or("-", |value| value.to_str().unwrap()).to_owned();
    let (te, trailer) = (header("te"), header("trailer"));
    let line = format!("{} {} host={} cookie={}", request.method(), request.uri().path(), header("host"), header("cookie"));
    let response = Response::builder().header("x-te", te);
    if request.uri().path() == "/echo" {
        return response.header("trailer", trailer).body(Body::new(request.into_body())).unwrap();
    }
    response.body(Body::from(line)).unwrap()
}

fn serve(pod: &Pod) {
    let listener = pod.namespace.run(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 8080)).unwrap());
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let _ = axum::serve(listener, Router::new().fallback(any(answer))).await;
        });
    });
}

async fn world_of(app_protocol: &str) -> (World, Pod, Pod) {
    let world = World::new().await;
    let mut proxy = proxy(&world).await;
    let (pod, client) = (world.pod("a").await, world.pod("client").await);
    serve(&pod);
    service(&mut proxy, &json!({ "ports": [{ "port": 80, "appProtocol": app_protocol }] }));
    endpoints(&mut proxy, &[("a", &pod)]);
    proxy.settle(START).unwrap();
    (world, pod, client)
}

fn connect(client: &Pod) -> TcpStream {
    client.namespace.run(|| TcpStream::connect((CLUSTER_IP, 80)).unwrap())
}

/// Everything that is answered until the connection ends, without the date.
fn say(client: &Pod, request: &str) -> String {
    let mut stream = connect(client);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.lines().filter(|line| !line.starts_with("date:")).collect::<Vec<_>>().join("\n")
}

#[test]
fn old_clients_and_odd_requests_are_answered() {
    on_own_host(async {
        let (_world, _pod, client) = world_of("http").await;
        let answer = say(&client, "GET /x HTTP/1.0\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.0 200 OK\n") && answer.ends_with("\nGET /x host=localhost cookie=-"), "{answer}");
        let answer = say(&client, "HEAD /x HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n");
        assert!(answer.contains("content-length: 25") && answer.ends_with("\n"), "{answer}");
        let answer = say(
            &client,
            "POST /echo HTTP/1.1\r\nHost: web\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
        );
        assert!(answer.starts_with("HTTP/1.1 100 Continue\n") && answer.ends_with("hello"), "{answer}");
        let answer = say(&client, "CONNECT web:80 HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    });
}

#[test]
fn bodies_without_a_length_end_as_they_should() {
    on_own_host(async {
        let (_world, _pod, client) = world_of("http").await;
        let request = "POST /echo HTTP/1.1\r\nHost: web\r\nConnection: close, te\r\nTE: trailers\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n\
                       5\r\nhello\r\n0\r\nx-sum: 532\r\n\r\n";
        let answer = say(&client, request);
        assert!(answer.contains("x-te: trailers"), "{answer}");
        assert!(answer.contains("transfer-encoding: chunked") && answer.contains("\n5\nhello\n0\nx-sum: 532\n"), "{answer}");
        // 8 MiB both ways at once, faster than anybody reads it.
        let mut stream = connect(&client);
        let mut writer = stream.try_clone().unwrap();
        let length = 8 << 20;
        let sender = std::thread::spawn(move || {
            let head = format!("POST /echo HTTP/1.1\r\nHost: web\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
            writer.write_all(head.as_bytes()).unwrap();
            writer.write_all(&vec![b'x'; length]).unwrap();
        });
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        sender.join().unwrap();
        assert_eq!(answer.iter().filter(|byte| **byte == b'x').count() - "x-te".matches('x').count(), length);
    });
}

/// Two hops that disagree on where a request ends would let one client's request be taken for another's.
#[test]
fn nothing_is_smuggled() {
    on_own_host(async {
        let (_world, _pod, client) = world_of("http").await;
        let hidden = "GET /hidden HTTP/1.1\r\nHost: web\r\n\r\n";
        for head in [
            "Content-Length: 4\r\nContent-Length: 40",
            "Content-Length: 4, 40",
            "Content-Length: +4",
            "Transfer-Encoding: chunked, identity",
            "Transfer-Encoding: xchunked",
            "Transfer-Encoding : chunked",
            "Transfer-Encoding:\x0bchunked\r\nContent-Length: 4",
        ] {
            let answer =
                say(&client, &format!("POST /x HTTP/1.1\r\nHost: web\r\nConnection: close\r\n{head}\r\n\r\n0\r\n\r\n{hidden}"));
            assert!(answer.starts_with("HTTP/1.1 400 ") && !answer.contains("/hidden"), "{head}: {answer}");
        }
        // Both at once: chunks decide, and what is after them is not part of the request.
        let both = "POST /echo HTTP/1.1\r\nHost: web\r\nConnection: close\r\nContent-Length: 40\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
        let answer = say(&client, &format!("{both}{hidden}"));
        assert!(!answer.contains("hidden"), "{answer}");
    });
}

#[test]
fn clients_may_speak_http_2_to_servers_that_do_not() {
    on_own_host(async {
        for (app_protocol, version) in [("http", Version::HTTP_2), ("kubernetes.io/h2c", Version::HTTP_2)] {
            let (world, _pod, client) = world_of(app_protocol).await;
            let stream = connect(&client);
            stream.set_nonblocking(true).unwrap();
            let io = TokioIo::new(tokio::net::TcpStream::from_std(stream).unwrap());
            let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
            let connection = tokio::spawn(connection);
            let request = |path: &str| {
                let request = Request::builder().uri(format!("http://web{path}")).version(version);
                request.header("cookie", "a=1").header("cookie", "b=2").header("te", "trailers")
            };
            // Many at once on the one connection.
            let asked = (0..20).map(|_| sender.send_request(request("/x").body(Full::<Bytes>::default()).unwrap()));
            for response in futures::future::join_all(asked.collect::<Vec<_>>()).await {
                let response = response.unwrap();
                assert_eq!(response.headers()["x-te"], "trailers");
                let body = response.into_body().collect().await.unwrap().to_bytes();
                let cookies = if app_protocol == "http" { "a=1; b=2" } else { "a=1" };
                assert_eq!(body, format!("GET /x host=web cookie={cookies}"), "{app_protocol}");
            }
            // The route goes: the client is told, and its connection ends without an error.
            world.holder.set_http_routes(Vec::new()).unwrap();
            connection.await.unwrap().unwrap();
        }
    });
}

#[test]
fn a_client_goes_back_to_its_endpoint() {
    on_own_host(async {
        let world = World::new().await;
        let mut proxy = proxy(&world).await;
        let (a, b, client) = (world.pod("a").await, world.pod("b").await, world.pod("client").await);
        serve(&a);
        serve(&b);
        let ports = json!([{ "port": 80, "appProtocol": "http" }]);
        service(&mut proxy, &json!({ "ports": ports, "sessionAffinity": "ClientIP" }));
        endpoints(&mut proxy, &[("a", &a), ("b", &b)]);
        for (uid, revision) in [("a", "v1"), ("b", "v2")] {
            let labels = json!({ "pod-template-hash": revision });
            let pod = json!({ "metadata": { "namespace": "shop", "name": uid, "uid": uid, "labels": labels } });
            proxy.pod(&std::sync::Arc::new(serde_json::from_value(pod).unwrap()), START);
        }
        proxy.settle(START).unwrap();
        for _ in 0..10 {
            say(&client, "GET /x HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n");
        }
        let counts = world.holder.http_counts().unwrap();
        assert_eq!(counts.iter().map(|counts| counts.requests).collect::<Vec<_>>(), [10]);
    });
}
