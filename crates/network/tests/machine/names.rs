//! Names, asked for from inside a pod: of Services, of pods, of the outside, and while nobody but the holder lives.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream, UdpSocket},
    sync::Arc,
    time::Duration,
};

use hickory_server::proto::{
    op::{Message, MessageType, Query, ResponseCode},
    rr::{Name, RData, Record, RecordType},
};
use nix::mount::{MsFlags, mount};
use serde_json::json;

use crate::{
    api::Api,
    run::{Running, node_port},
    world::{Pod, World, on_own_host},
};

const DNS: (Ipv4Addr, u16) = (Ipv4Addr::new(10, 96, 0, 10), 53);

fn question(name: &str, kind: RecordType) -> Vec<u8> {
    let mut question = Message::query();
    question.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    question.to_vec().unwrap()
}

/// Asks by datagram, until there is an answer.
fn ask(pod: &Pod, name: &str, kind: RecordType) -> Message {
    let bytes = question(name, kind);
    pod.namespace.run(move || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        socket.connect(DNS).unwrap();
        // As a resolver does: nobody may listen yet, and the kernel says so to the first few only.
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        loop {
            let _ = socket.send(&bytes);
            let mut answer = [0; 512];
            if let Ok(length) = socket.recv(&mut answer) {
                return Message::from_vec(&answer[..length]).unwrap();
            }
        }
    })
}

/// The same from another thread: the test's own is the API server's.
async fn resolve(pod: &Arc<Pod>, name: &'static str, kind: RecordType) -> Message {
    let pod = pod.clone();
    tokio::task::spawn_blocking(move || ask(&pod, name, kind)).await.unwrap()
}

/// Asks over a connection.
async fn resolve_over_tcp(pod: &Arc<Pod>, name: &'static str, kind: RecordType) -> Message {
    let pod = pod.clone();
    let ask = move || {
        let bytes = question(name, kind);
        pod.namespace.run(move || {
            let mut stream = TcpStream::connect(DNS).unwrap();
            stream.write_all(&u16::try_from(bytes.len()).unwrap().to_be_bytes()).unwrap();
            stream.write_all(&bytes).unwrap();
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut answer).unwrap();
            Message::from_vec(&answer).unwrap()
        })
    };
    tokio::task::spawn_blocking(ask).await.unwrap()
}

/// Asks until the answer is another than `code`.
async fn resolve_after(pod: &Arc<Pod>, name: &'static str, code: ResponseCode) -> Message {
    loop {
        let answer = resolve(pod, name, RecordType::A).await;
        if answer.metadata.response_code != code {
            return answer;
        }
    }
}

#[test]
fn names_are_resolved_inside_pods() {
    on_own_host(async {
        let (world, api) = (World::new().await, Api::default());
        let client = Arc::new(world.pod("client").await);
        api.put("services", node_port());
        let running = Running::start(&world, &api);
        let answer = resolve_after(&client, "web.shop.svc.cluster.local.", ResponseCode::ServFail).await;
        assert_eq!(answer.answers.len(), 1);
        assert_eq!(answer.answers[0].data.to_string(), "10.96.0.5");
        assert!(answer.metadata.authoritative && answer.metadata.recursion_available);
        let answer = resolve(&client, "WEB.shop.svc.cluster.local.", RecordType::AAAA).await;
        assert_eq!((answer.metadata.response_code, answer.answers.len()), (ResponseCode::NoError, 0));
        assert_eq!(answer.authorities.len(), 1);
        let answer = resolve(&client, "nothing.shop.svc.cluster.local.", RecordType::A).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
        // DNS answers on its own address; the Service that names it takes nothing away.
        let answer = resolve_after(&client, "kube-dns.kube-system.svc.cluster.local.", ResponseCode::NXDomain).await;
        assert_eq!(answer.answers[0].data.to_string(), "10.96.0.10");
        running.stop().await;
    });
}

#[test]
fn names_are_resolved_while_nobody_routes() {
    on_own_host(async {
        let (world, api) = (World::new().await, Api::default());
        let client = Arc::new(world.pod("client").await);
        api.put("services", node_port());
        let running = Running::start(&world, &api);
        resolve_after(&client, "web.shop.svc.cluster.local.", ResponseCode::ServFail).await;
        running.stop().await;
        let answer = resolve(&client, "web.shop.svc.cluster.local.", RecordType::A).await;
        assert_eq!(answer.answers[0].data.to_string(), "10.96.0.5");

        // What became of the Services meanwhile is known as soon as somebody routes again, and what was known goes on until then.
        let mut other = node_port();
        other["metadata"]["name"] = json!("other");
        api.put("services", other);
        let running = Running::start(&world, &api);
        let answer = resolve_after(&client, "other.shop.svc.cluster.local.", ResponseCode::NXDomain).await;
        assert_eq!((answer.metadata.response_code, answer.answers.len()), (ResponseCode::NoError, 1));
        running.stop().await;
    });
}

#[test]
fn a_long_answer_is_cut_short_and_whole_over_a_connection() {
    on_own_host(async {
        let (world, api) = (World::new().await, Api::default());
        let client = Arc::new(world.pod("client").await);
        let mut service = node_port();
        service["spec"] = json!({ "clusterIP": "None" });
        api.put("services", service);
        let endpoint = |number: u8| json!({ "addresses": [Ipv4Addr::new(10, 244, 0, number)], "conditions": { "ready": true } });
        api.put(
            "endpointslices",
            json!({
                "metadata": { "namespace": "shop", "name": "web-1", "labels": { "kubernetes.io/service-name": "web" } },
                "addressType": "IPv4",
                "endpoints": (2..82).map(endpoint).collect::<Vec<_>>(),
            }),
        );
        let running = Running::start(&world, &api);
        let answer = resolve_after(&client, "web.shop.svc.cluster.local.", ResponseCode::ServFail).await;
        assert!(answer.metadata.truncation, "80 addresses don't fit into 512 bytes");
        let answer = resolve_over_tcp(&client, "web.shop.svc.cluster.local.", RecordType::A).await;
        assert_eq!(answer.answers.len(), 80);
        running.stop().await;
    });
}

#[test]
fn other_names_are_the_hosts_resolvers_business() {
    on_own_host(async {
        let directory = tempfile::tempdir().unwrap();
        let resolv_conf = directory.path().join("resolv.conf");
        std::fs::write(&resolv_conf, "nameserver 127.0.0.1\n").unwrap();
        let target = std::fs::canonicalize("/etc/resolv.conf").unwrap();
        mount(Some(&resolv_conf), &target, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        let resolver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 53)).unwrap();
        std::thread::spawn(move || {
            let mut bytes = [0; 512];
            while let Ok((length, from)) = resolver.recv_from(&mut bytes) {
                let mut message = Message::from_vec(&bytes[..length]).unwrap();
                let name = message.queries[0].name().clone();
                message.metadata.message_type = MessageType::Response;
                message.answers.push(Record::from_rdata(name, 60, RData::A(Ipv4Addr::new(192, 0, 2, 7).into())));
                resolver.send_to(&message.to_vec().unwrap(), from).unwrap();
            }
        });
        let (world, api) = (World::new().await, Api::default());
        let client = Arc::new(world.pod("client").await);
        api.put("services", node_port());
        let mut alias = node_port();
        alias["metadata"]["name"] = json!("alias");
        alias["spec"] = json!({ "type": "ExternalName", "externalName": "example.com" });
        api.put("services", alias);
        let running = Running::start(&world, &api);
        let answer = resolve(&client, "example.com.", RecordType::A).await;
        assert_eq!(answer.answers[0].data.to_string(), "192.0.2.7");
        assert!(!answer.metadata.authoritative);
        let answer = resolve_after(&client, "alias.shop.svc.cluster.local.", ResponseCode::ServFail).await;
        let found: Vec<_> = answer.answers.iter().map(|record| record.data.to_string()).collect();
        assert_eq!(found, ["example.com.", "192.0.2.7"]);
        running.stop().await;
    });
}
