//! F9 and N1: requests over kept connections during a rollout, and how soon the kernel follows.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::time::timeout;

use super::{Bench, figure::Figure, machine::Machine};
use crate::{
    fixtures,
    process::output,
    test::{cargo, target_dir},
};

const PATIENCE: Duration = Duration::from_secs(60);
/// Clients that keep their connection, as many as Kubernetes was measured with.
const CLIENTS: usize = 4;

/// F9: rollouts of 3 containers that end at once on SIGTERM, under clients that keep their connections to a port that is routed by
/// request, and to one that nobody called HTTP.
pub(crate) fn kept(bench: &Bench, runtime: &tokio::runtime::Runtime) -> Result<Vec<Figure>> {
    let registry = fixtures::serve(&target_dir()?.join("fixtures"))?;
    let mirror = format!("--registry-mirror=docker.io=http://{}", registry.address());
    let machine = Machine::start(bench, &[&mirror])?;
    let samples = runtime.block_on(async {
        let client = machine.client().await?;
        let ports = deploy(&client).await?;
        let deployments: Api<Deployment> = Api::default_namespaced(client);
        let mut samples = [Vec::new(), Vec::new()];
        for run in 0..bench.runs {
            let running = Arc::new(AtomicBool::new(true));
            let start = |port| {
                let running = running.clone();
                thread::spawn(move || count_lost(port, &running))
            };
            let clients = ports.map(|port| (0..CLIENTS).map(|_| start(port)).collect::<Vec<_>>());
            let image = ["nginx:1.16.1", "nginx:1.14.2"][run as usize % 2];
            let containers = json!([{ "name": "nginx", "image": image }]);
            let patch = json!({ "spec": { "template": { "spec": { "containers": containers } } } });
            deployments.patch("web", &PatchParams::default(), &Patch::Strategic(patch)).await?;
            rolled_out(&deployments).await?;
            running.store(false, Ordering::Relaxed);
            for (clients, samples) in clients.into_iter().zip(&mut samples) {
                let lost = clients.into_iter().map(|client| client.join().map_err(|_| anyhow::anyhow!("a client panicked")));
                samples.push(lost.sum::<Result<u32>>()?.into());
            }
        }
        anyhow::Ok(samples)
    })?;
    let figure = |(samples, port)| {
        let what = format!("requests lost over {CLIENTS} kept connections a rollout, {port}");
        Figure { name: "F9", what, unit: "", samples, kubernetes: Some(6.0), target: 0.0 }
    };
    Ok(samples.into_iter().zip(["port of HTTP", "any port"]).map(figure).collect())
}

/// Makes the application, and gives the ports of the host that lead to it: routed by request, and by connection.
async fn deploy(client: &Client) -> Result<[u16; 2]> {
    let labels = json!({ "app": "web" });
    let end_at_once = "trap 'exit 0' TERM QUIT; nginx -g 'daemon off;' & wait";
    let deployment = serde_json::from_value(json!({
        "metadata": { "name": "web" },
        "spec": {
            "replicas": 3,
            "selector": { "matchLabels": labels },
            "strategy": { "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } },
            "template": { "metadata": { "labels": labels }, "spec": { "containers": [{
                "name": "nginx", "image": "nginx:1.14.2", "command": ["sh", "-c", end_at_once],
                "readinessProbe": { "httpGet": { "path": "/", "port": 80 }, "periodSeconds": 1 },
            }] } },
        },
    }))?;
    let service = serde_json::from_value(json!({
        "metadata": { "name": "web" },
        "spec": { "type": "NodePort", "selector": labels, "ports": [
            { "name": "http", "port": 80, "appProtocol": "http" }, { "name": "any", "port": 81, "targetPort": 80 },
        ] },
    }))?;
    let services: Api<Service> = Api::default_namespaced(client.clone());
    let service = services.create(&PostParams::default(), &service).await?;
    let deployments: Api<Deployment> = Api::default_namespaced(client.clone());
    deployments.create(&PostParams::default(), &deployment).await?;
    rolled_out(&deployments).await?;
    let ports = service.spec.and_then(|spec| spec.ports).unwrap_or_default();
    let ports: Vec<u16> = ports.iter().filter_map(|port| port.node_port?.try_into().ok()).collect();
    ports.try_into().map_err(|_| anyhow::anyhow!("the Service has no node ports"))
}

async fn rolled_out(deployments: &Api<Deployment>) -> Result<()> {
    let done = |deployment: &Deployment| {
        let status = deployment.status.clone().unwrap_or_default();
        let observed = status.observed_generation == deployment.metadata.generation;
        observed && status.updated_replicas == Some(3) && status.ready_replicas == Some(3) && status.replicas == Some(3)
    };
    let wait = async {
        while !done(&deployments.get("web").await?) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        anyhow::Ok(())
    };
    timeout(PATIENCE, wait).await.context("the rollout does not end")?
}

/// Asks without pause; whatever is not answered is lost, and the connection is made anew.
fn count_lost(port: u16, running: &AtomicBool) -> u32 {
    let (mut kept, mut lost) = (None, 0);
    while running.load(Ordering::Relaxed) {
        if ask(port, &mut kept).is_err() {
            kept = None;
            lost += 1;
        }
        thread::sleep(Duration::from_millis(1));
    }
    lost
}

fn ask(port: u16, kept: &mut Option<BufReader<TcpStream>>) -> Result<()> {
    let mut stream = match kept.take() {
        Some(stream) => stream,
        None => BufReader::new(TcpStream::connect(("127.0.0.1", port))?),
    };
    stream.get_mut().set_read_timeout(Some(PATIENCE))?;
    stream.get_mut().write_all(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n")?;
    let mut line = String::new();
    stream.read_line(&mut line)?;
    ensure!(line.starts_with("HTTP/1.1 200 "), "answered {line:?}");
    let (mut length, mut closes) = (0, false);
    while line != "\r\n" {
        line.clear();
        ensure!(stream.read_line(&mut line)? > 0, "the answer breaks off");
        let header = line.to_ascii_lowercase();
        closes |= header.starts_with("connection: close");
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
    }
    stream.read_exact(&mut vec![0; length])?;
    if !closes {
        *kept = Some(stream);
    }
    Ok(())
}

/// N1: from an endpoint that changes to the kernel's rules, among 1,000 Services.
pub(crate) fn latency(bench: &Bench, _: &tokio::runtime::Runtime) -> Result<Vec<Figure>> {
    let mut samples = Vec::new();
    for _ in 0..bench.runs {
        let text =
            output(cargo().args(["run", "--release", "--quiet", "--package", "windlass-network", "--example", "route_latency"]))?;
        let p99 = text.split_once("p99 ").and_then(|(_, rest)| rest.split(' ').next()).context("the example prints no p99")?;
        samples.push(p99.parse().with_context(|| format!("{p99:?} is not a number"))?);
    }
    let what = "p99 from a change to the kernel, 1,000 Services".to_owned();
    Ok(vec![Figure { name: "N1", what, unit: "ms", samples, kubernetes: None, target: 5.0 }])
}
