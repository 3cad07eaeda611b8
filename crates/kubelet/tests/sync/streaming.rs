//! Talking to containers over both protocols, with clients of both.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async, client_async,
    tungstenite::{
        Error, Message,
        client::IntoClientRequest as _,
        handshake::server::{Request, Response},
    },
};
use windlass_kubelet::server::router;
use windlass_spdy::{Headers, Limits, Opener, Stream};

use crate::world::World;

/// A kubelet with one running pod, answering on a socket.
async fn serve() -> (World, SocketAddr) {
    let world = World::start().await;
    world.create("web", json!({ "containers": [{ "name": "web", "image": "web:1" }] })).await;
    let is_running =
        |pod: &k8s_openapi::api::core::v1::Pod| pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
    world.wait("web", "Running", is_running).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = TowerToHyperService::new(router(Arc::clone(&world.kubelet)));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let service = service.clone();
            tokio::spawn(async move {
                Builder::new(TokioExecutor::new()).serve_connection_with_upgrades(TokioIo::new(socket), service).await
            });
        }
    });
    (world, address)
}

/// Upgrades to SPDY as client-go does; the answer's head when that is refused.
async fn spdy(address: SocketAddr, path: &str, protocols: &[&str]) -> Result<Opener, String> {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let mut head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n");
    for protocol in protocols {
        head.push_str(&format!("X-Stream-Protocol-Version: {protocol}\r\n"));
    }
    head.push_str("Content-Length: 0\r\n\r\n");
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(socket.read_u8().await.unwrap());
    }
    let answer = String::from_utf8(answer).unwrap().to_lowercase();
    if !answer.starts_with("http/1.1 101") {
        return Err(answer);
    }
    if let Some(best) = protocols.first() {
        assert!(answer.contains(&format!("x-stream-protocol-version: {best}\r\n")), "{answer}");
    }
    let (opener, driver) = windlass_spdy::connect(socket, Limits { streams: 16, idle: Duration::from_secs(60) });
    tokio::spawn(driver);
    Ok(opener)
}

async fn open(opener: &mut Opener, kind: &str) -> Stream {
    opener.open(Headers::new([("streamType", kind)])).await.unwrap()
}

async fn text(stream: &mut Stream) -> String {
    let mut all = Vec::new();
    while let Some(bytes) = stream.reader.read().await {
        all.extend_from_slice(&bytes);
    }
    String::from_utf8(all).unwrap()
}

const EXEC: &str = "/exec/default/web/web?input=1&output=1&error=1&command=say&command=it";

#[tokio::test]
async fn a_command_over_spdy() {
    let (world, address) = serve().await;
    world.runtime.state().exec_exit_code = 3;
    let mut opener = spdy(address, EXEC, &["v4.channel.k8s.io"]).await.unwrap();
    let (mut error, mut stdin) = (open(&mut opener, "error").await, open(&mut opener, "stdin").await);
    let (mut stdout, mut stderr) = (open(&mut opener, "stdout").await, open(&mut opener, "stderr").await);
    stdin.writer.write(Bytes::from_static(b"input")).await.unwrap();
    stdin.writer.close().await.unwrap();
    assert_eq!(text(&mut stdout).await, "say it input");
    assert_eq!(text(&mut stderr).await, "err");
    let status: Value = serde_json::from_str(&text(&mut error).await).unwrap();
    assert_eq!(status["reason"], "NonZeroExitCode");
    assert_eq!(status["details"]["causes"], json!([{ "reason": "ExitCode", "message": "3" }]));
    assert_eq!(status["message"], "command terminated with non-zero exit code: error executing command [say it], exit code 3");
}

#[tokio::test]
async fn older_spdy_clients_are_told_in_plain_words() {
    let (world, address) = serve().await;
    let attach = "/attach/default/web/web?input=1&output=1";
    for protocols in [&["v2.channel.k8s.io"][..], &["channel.k8s.io"], &[]] {
        world.runtime.state().exec_exit_code = 0;
        let mut opener = spdy(address, attach, protocols).await.unwrap();
        let (mut error, mut stdin) = (open(&mut opener, "error").await, open(&mut opener, "stdin").await);
        let mut stdout = open(&mut opener, "stdout").await;
        stdin.writer.write(Bytes::from_static(b"hello")).await.unwrap();
        stdin.writer.close().await.unwrap();
        assert_eq!((text(&mut stdout).await.as_str(), text(&mut error).await.as_str()), ("hello", ""));
    }
    let refused = spdy(address, attach, &["v9.channel.k8s.io"]).await.unwrap_err();
    assert!(refused.starts_with("http/1.1 403") && refused.contains("x-accept-stream-protocol-versions"), "{refused}");
    let nobody = spdy(address, "/exec/default/web/nobody?output=1&command=x", &["v4.channel.k8s.io"]).await.unwrap_err();
    assert!(nobody.starts_with("http/1.1 500"), "{nobody}");
    let nowhere = spdy(address, "/exec/default/gone/web?output=1&command=x", &["v4.channel.k8s.io"]).await.unwrap_err();
    assert!(nowhere.starts_with("http/1.1 404"), "{nowhere}");
    let nothing = spdy(address, "/exec/default/web/web?command=x", &["v4.channel.k8s.io"]).await.unwrap_err();
    assert!(nothing.starts_with("http/1.1 400"), "{nothing}");
}

async fn websocket(address: SocketAddr, path: &str, protocol: &str) -> Result<WebSocketStream<TcpStream>, Error> {
    let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", protocol.parse().unwrap());
    let (socket, response) = client_async(request, TcpStream::connect(address).await.unwrap()).await?;
    assert_eq!(response.headers()["sec-websocket-protocol"], protocol);
    Ok(socket)
}

/// What comes on each channel until the server closes.
async fn channels(mut socket: WebSocketStream<TcpStream>) -> Vec<String> {
    let mut channels = vec![String::new(); 5];
    while let Some(message) = socket.next().await {
        match message.unwrap() {
            Message::Binary(bytes) => channels[usize::from(bytes[0])].push_str(std::str::from_utf8(&bytes[1..]).unwrap()),
            Message::Close(frame) => assert_eq!(u16::from(frame.unwrap().code), 1000),
            other => panic!("{other:?}"),
        }
    }
    channels
}

#[tokio::test]
async fn a_command_over_websocket() {
    let (world, address) = serve().await;
    let mut socket = websocket(address, EXEC, "v5.channel.k8s.io").await.unwrap();
    socket.send(Message::Binary(Bytes::from_static(b"\x00input"))).await.unwrap();
    socket.send(Message::Binary(Bytes::from_static(b"\xff\x00"))).await.unwrap();
    let heard = channels(socket).await;
    assert_eq!((heard[1].as_str(), heard[2].as_str()), ("say it input", "err"));
    assert_eq!(serde_json::from_str::<Value>(&heard[3]).unwrap(), json!({ "metadata": {}, "status": "Success" }));

    let path = "/exec/default/web/web?output=1&error=1&tty=1&input=1&command=say";
    let mut socket = websocket(address, path, "v5.channel.k8s.io").await.unwrap();
    socket.send(Message::Binary(Bytes::from_static(b"\x04{\"Width\":80,\"Height\":24}"))).await.unwrap();
    while world.runtime.sizes.lock().unwrap().is_empty() {
        let _ = tokio::time::timeout(Duration::from_secs(60), socket.next()).await.expect("the terminal's size arrives");
        tokio::task::yield_now().await;
        socket.send(Message::Ping(Bytes::new())).await.unwrap();
    }
    assert_eq!(*world.runtime.sizes.lock().unwrap(), [(80, 24)]);
}

#[tokio::test]
async fn other_websocket_protocols() {
    let (_world, address) = serve().await;
    let path = "/exec/default/web/web?output=1&command=say";
    let heard = channels(websocket(address, path, "v4.channel.k8s.io").await.unwrap()).await;
    assert_eq!((heard[1].as_str(), heard[3].contains("Success")), ("say ", true));
    let heard = channels(websocket(address, path, "channel.k8s.io").await.unwrap()).await;
    assert_eq!((heard[1].as_str(), heard[3].as_str()), ("say ", ""));
    let mut socket = websocket(address, path, "v4.base64.channel.k8s.io").await.unwrap();
    let mut said = Vec::new();
    while let Some(Ok(Message::Text(text))) = socket.next().await {
        said.push(text.to_string());
    }
    assert_eq!(said[..2], ["1", "1c2F5IA=="]);
    let Err(Error::Http(refused)) = websocket(address, path, "v9.channel.k8s.io").await else { panic!("it was not refused") };
    assert_eq!(refused.status(), 403);
    // Only the newest protocol has words for it.
    let nobody = "/exec/default/web/nobody?output=1&command=say";
    let heard = channels(websocket(address, nobody, "v5.channel.k8s.io").await.unwrap()).await;
    let status: Value = serde_json::from_str(&heard[3]).unwrap();
    assert_eq!(status["message"], "Internal error occurred: unable to upgrade connection: container not found (\"nobody\")");
    let Err(Error::Http(refused)) = websocket(address, nobody, "v4.channel.k8s.io").await else { panic!("it was not refused") };
    assert_eq!(refused.status(), 500);
}

/// A port that says what it is told, until its client has no more to say.
async fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = socket.split();
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    });
    port
}

#[tokio::test]
async fn ports_over_spdy() {
    let (_world, address) = serve().await;
    let port = echo().await.to_string();
    let mut opener = spdy(address, "/portForward/default/web", &["portforward.k8s.io"]).await.unwrap();
    for id in ["0", "1"] {
        let headers = |kind| Headers::new([("streamType", kind), ("port", port.as_str()), ("requestID", id)]);
        let mut error = opener.open(headers("error")).await.unwrap();
        let mut data = opener.open(headers("data")).await.unwrap();
        data.writer.write(Bytes::from_static(b"over and back")).await.unwrap();
        data.writer.close().await.unwrap();
        assert_eq!((text(&mut data).await.as_str(), text(&mut error).await.as_str()), ("over and back", ""));
    }
    let closed = { TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port().to_string() };
    let headers = |kind| Headers::new([("streamType", kind), ("port", closed.as_str()), ("requestID", "2")]);
    let (mut data, mut error) = (opener.open(headers("data")).await.unwrap(), opener.open(headers("error")).await.unwrap());
    let told = text(&mut error).await;
    assert!(told.starts_with(&format!("error forwarding port {closed} to pod ")), "{told}");
    assert!(told.contains("connect: connection refused"), "{told}");
    assert_eq!(text(&mut data).await, "");
}

#[tokio::test]
async fn ports_over_websocket() {
    let (_world, address) = serve().await;
    let port = echo().await;
    let path = format!("/portForward/default/web?ports={port}");
    let mut socket = websocket(address, &path, "v4.channel.k8s.io").await.unwrap();
    socket.send(Message::Binary(Bytes::from_static(b"\x00echo"))).await.unwrap();
    let mut heard = [Vec::new(), Vec::new()];
    while heard[0].len() < 6 {
        let Some(Ok(Message::Binary(bytes))) = socket.next().await else { panic!("cut off: {heard:?}") };
        heard[usize::from(bytes[0])].extend_from_slice(&bytes[1..]);
    }
    assert_eq!(heard[0], [&port.to_le_bytes()[..], b"echo"].concat());
    assert_eq!(heard[1], port.to_le_bytes());
    let refused = websocket(address, "/portForward/default/web", "v4.channel.k8s.io").await;
    assert!(matches!(refused, Err(Error::Http(response)) if response.status() == 400));
}

/// A server that changes its protocol, and says what it was asked for.
async fn told_back() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let mut asked = String::new();
        #[expect(clippy::result_large_err, reason = "as the library asks for it")]
        let agree = |request: &Request, mut response: Response| {
            asked = request.uri().to_string();
            response.headers_mut().insert("sec-websocket-protocol", "told".parse().unwrap());
            Ok(response)
        };
        let mut socket = accept_hdr_async(socket, agree).await.unwrap();
        while let Some(Ok(message)) = socket.next().await {
            socket.send(Message::text(format!("{asked}: {message}"))).await.unwrap();
        }
    });
    port
}

#[tokio::test]
async fn requests_for_a_port_are_handed_on() {
    let (_world, address) = serve().await;
    let path = format!("/podProxy/default/web/http:{}/chat%2F//x?room=1", told_back().await);
    let mut socket = websocket(address, &path, "told").await.unwrap();
    for word in ["one", "two"] {
        socket.send(Message::text(word)).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap().into_text().unwrap(), format!("/chat%2F//x?room=1: {word}").as_str());
    }
    let closed = { TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port() };
    for (pod, code, why) in [("web", 503, "connect: connection refused"), ("gone", 404, "pod does not exist")] {
        let refused = websocket(address, &format!("/podProxy/default/{pod}/http:{closed}/"), "told").await;
        let Err(Error::Http(response)) = refused else { panic!("{refused:?}") };
        let status: Value = serde_json::from_slice(response.body().as_deref().unwrap()).unwrap();
        assert_eq!((response.status().as_u16(), &status["code"]), (code, &json!(code)));
        assert!(status["message"].as_str().unwrap().ends_with(why), "{status}");
    }
}
