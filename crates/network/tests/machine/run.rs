//! The whole of it: what is written to the API is routed, published, named, and acknowledged.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use windlass_network::{Addresses, Options, Routed, RunError};

use crate::{
    api::Api,
    world::{Pod, World, ask, on_own_host},
};

const HOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Routes what is written to `api`, until it is told to stop.
pub(crate) struct Running {
    task: JoinHandle<Result<(), RunError>>,
    stop: CancellationToken,
    routed: Routed,
}

impl Running {
    pub(crate) fn start(world: &World, api: &Api) -> Self {
        let routed = Routed::default();
        let options = Options {
            node: "here".to_owned(),
            addresses: Addresses::default(),
            publish_address: IpAddr::V4(HOST),
            routed: routed.clone(),
        };
        let stop = CancellationToken::new();
        let (machine, holder) = (world.machine.clone(), world.holder.clone());
        let task = tokio::spawn(windlass_network::run(api.client(), machine, holder, options, stop.clone()));
        Self { task, stop, routed }
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

fn service(spec: Value) -> Value {
    let mut service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "namespace": "shop", "name": "web", "uid": "web-uid" },
        "spec": { "clusterIP": "10.96.0.5" },
    });
    service["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    service
}

pub(crate) fn node_port() -> Value {
    service(json!({ "type": "NodePort", "ports": [{ "port": 80, "nodePort": 30080 }] }))
}

fn slice(pods: &[(&str, &Pod)]) -> Value {
    let endpoint = |(uid, pod): &(&str, &Pod)| json!({ "addresses": [pod.address], "conditions": { "ready": true }, "targetRef": { "kind": "Pod", "uid": uid } });
    json!({
        "metadata": { "namespace": "shop", "name": "web-1", "labels": { "kubernetes.io/service-name": "web" } },
        "addressType": "IPv4",
        "endpoints": pods.iter().map(endpoint).collect::<Vec<_>>(),
        "ports": [{ "port": 8080, "protocol": "TCP" }],
    })
}

fn pod(uid: &str, terminating: bool) -> Value {
    let mut pod = json!({
        "metadata": { "namespace": "shop", "name": uid, "uid": uid },
        "spec": { "nodeName": "here", "containers": [] },
        "status": { "phase": "Running" },
    });
    if terminating {
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    }
    pod
}

/// Asks a port of the host, waiting until it is open.
pub(crate) async fn ask_host(port: u16) -> String {
    let address = SocketAddr::from((HOST, port));
    tokio::task::spawn_blocking(move || {
        loop {
            if let Ok(answer) = TcpStream::connect(address).and_then(ask) {
                return answer;
            }
            std::thread::yield_now();
        }
    })
    .await
    .unwrap()
}

#[test]
fn what_is_written_is_routed_and_a_pod_on_its_way_out_is_told() {
    on_own_host(async {
        let (world, api) = (World::new().await, Api::default());
        let (a, b) = (world.pod("a").await, world.pod("b").await);
        a.serve(8080, "a");
        b.serve(8080, "b");
        api.put("services", node_port());
        api.put("endpointslices", slice(&[("a", &a)]));
        api.put("pods", pod("a", false));
        let running = Running::start(&world, &api);
        assert_eq!(ask_host(30080).await, "a");

        api.put("pods", pod("b", false));
        api.put("endpointslices", slice(&[("a", &a), ("b", &b)]));
        api.put("pods", pod("a", true));
        let condition = api
            .until(|api| {
                let condition = api.get("pods", "shop", "a")?["status"]["conditions"][0].clone();
                (!condition.is_null()).then_some(condition)
            })
            .await;
        assert_eq!((&condition["type"], &condition["status"]), (&json!("windlass.dev/Unrouted"), &json!("True")));
        assert_eq!(condition["reason"], "NoRoute");
        // It was told after the rules had changed, so from now on there is only one answer.
        for _ in 0..20 {
            assert_eq!(ask_host(30080).await, "b");
        }
        running.stop().await;
        // Nobody has to live for that.
        assert_eq!(ask_host(30080).await, "b");
    });
}

/// A ready pod, as its own words and no slice say.
fn ready(uid: &str, address: Ipv4Addr, colour: &str, condition: &Value) -> Value {
    let mut pod = pod(uid, false);
    pod["metadata"]["labels"] = json!({ "colour": colour });
    pod["status"]["podIP"] = json!(address);
    pod["status"]["conditions"] = json!([{ "type": "Ready", "status": "True" }, condition]);
    pod
}

#[test]
fn a_pod_of_which_a_container_is_to_be_stopped_is_out_of_its_routes_for_that_long() {
    on_own_host(async {
        let (world, api) = (World::new().await, Api::default());
        let (a, b) = (world.pod("a").await, world.pod("b").await);
        a.serve(8080, "a");
        b.serve(8080, "b");
        let ports = json!([{ "port": 80, "targetPort": 8080, "nodePort": 30080 }]);
        // Even a Service that sends to pods that are not ready.
        let spec =
            json!({ "type": "NodePort", "selector": { "colour": "red" }, "publishNotReadyAddresses": true, "ports": ports });
        api.put("services", service(spec));
        let other = json!({ "type": "Other", "status": "True" });
        api.put("pods", ready("a", a.address, "red", &other));
        api.put("pods", ready("b", b.address, "red", &other));
        let running = Running::start(&world, &api);
        while ask_host(30080).await != "a" {}

        api.put("pods", ready("a", a.address, "red", &json!({ "type": "windlass.dev/Unrouted", "status": "False" })));
        let is_told = |api: &Api| {
            let pod = api.get("pods", "shop", "a")?;
            let conditions = pod["status"]["conditions"].as_array()?;
            conditions.iter().any(|one| one["type"] == "windlass.dev/Unrouted" && one["status"] == "True").then_some(())
        };
        api.until(is_told).await;
        for _ in 0..20 {
            assert_eq!(ask_host(30080).await, "b");
        }
        api.put("pods", ready("a", a.address, "red", &other));
        while ask_host(30080).await != "a" {}
        running.stop().await;
    });
}

#[test]
fn a_selector_that_changed_is_in_effect_once_its_revision_is_reached() {
    on_own_host(async {
        let (world, api) = (World::new().await, Api::default());
        let (blue, green) = (world.pod("blue").await, world.pod("green").await);
        blue.serve(8080, "blue");
        green.serve(8080, "green");
        let other = json!({ "type": "Other", "status": "True" });
        api.put("pods", ready("blue", blue.address, "blue", &other));
        api.put("pods", ready("green", green.address, "green", &other));
        let select = |colour: &str| {
            let ports = json!([{ "port": 80, "targetPort": 8080, "nodePort": 30080 }]);
            api.put("services", service(json!({ "type": "NodePort", "selector": { "colour": colour }, "ports": ports })));
            let service = api.get("services", "shop", "web").unwrap();
            service["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap()
        };
        select("blue");
        let running = Running::start(&world, &api);
        for colour in ["green", "blue"].repeat(50) {
            let revision = select(colour);
            running.routed.reached(revision).await;
            assert_eq!(ask_host(30080).await, colour);
        }
        running.stop().await;
    });
}

#[test]
fn a_taken_port_is_an_event_and_opens_when_it_is_free() {
    on_own_host(async {
        let (world, api) = (World::new().await, Api::default());
        let taken = TcpListener::bind((HOST, 30080)).unwrap();
        api.put("services", node_port());
        let running = Running::start(&world, &api);
        let event = api.until(|api| api.all("events").first().cloned()).await;
        assert_eq!((&event["type"], &event["reason"]), (&json!("Warning"), &json!("PortNotPublished")));
        assert_eq!(event["regarding"]["name"], "web");
        assert_eq!(
            event["note"],
            "port 30080/TCP of the host can't be opened on 127.0.0.1: Address already in use (os error 98); free it, or choose \
             another port"
        );
        drop(taken);
        // Another change is a reason to try at once.
        api.put("services", service(json!({ "type": "NodePort", "ports": [{ "port": 81, "nodePort": 30080 }] })));
        while world.holder.status().unwrap().ports.is_empty() {
            tokio::task::yield_now().await;
        }
        running.stop().await;
    });
}

#[test]
fn a_load_balancer_may_ask_whether_there_are_endpoints() {
    on_own_host(async {
        let (world, api) = (World::new().await, Api::default());
        let pod = world.pod("a").await;
        let ports = json!([{ "port": 8000, "nodePort": 30080 }]);
        let spec =
            json!({ "type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30099, "ports": ports });
        api.put("services", service(spec));
        let running = Running::start(&world, &api);
        let health = || async {
            let ask = || -> std::io::Result<String> {
                let mut stream = TcpStream::connect((HOST, 30099))?;
                std::io::Write::write_all(&mut stream, b"GET /healthz HTTP/1.0\r\n\r\n")?;
                std::io::read_to_string(&mut stream)
            };
            let asked = tokio::task::spawn_blocking(move || std::iter::repeat_with(ask).find_map(Result::ok));
            asked.await.unwrap().unwrap()
        };
        let none = health().await;
        assert!(none.starts_with("HTTP/1.0 503 ") && none.contains("\"localEndpoints\": 0,"), "{none}");
        let mut here = slice(&[("a", &pod)]);
        here["endpoints"][0]["nodeName"] = json!("here");
        api.put("endpointslices", here);
        let mut one = none;
        while one.starts_with("HTTP/1.0 503 ") {
            one = health().await;
        }
        assert!(one.starts_with("HTTP/1.0 200 ") && one.contains("\"name\": \"web\"\n\t},\n\t\"localEndpoints\": 1,"), "{one}");
        running.stop().await;
    });
}

#[test]
fn a_load_balancer_is_told_where_it_is() {
    on_own_host(async {
        let (world, api) = (World::new().await, Api::default());
        let pod = world.pod("a").await;
        pod.serve(8080, "a");
        api.put("services", service(json!({ "type": "LoadBalancer", "ports": [{ "port": 8000 }] })));
        api.put("endpointslices", slice(&[("a", &pod)]));
        let running = Running::start(&world, &api);
        let ingress = api
            .until(|api| {
                let ingress = api.get("services", "shop", "web")?["status"]["loadBalancer"]["ingress"].clone();
                (!ingress.is_null()).then_some(ingress)
            })
            .await;
        assert_eq!(ingress, json!([{ "ip": "127.0.0.1", "ipMode": "Proxy" }]));
        assert_eq!(ask_host(8000).await, "a");
        running.stop().await;
    });
}
