//! F3 to F6: rolling updates and an undo of simulated pods.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::json;
use tokio::time::timeout;

use super::{Bench, figure::Figure, machine::Machine};

const PATIENCE: Duration = Duration::from_secs(300);
const NAME: &str = "bench";

pub(crate) fn measure(bench: &Bench, runtime: &tokio::runtime::Runtime) -> Result<Vec<Figure>> {
    let sizes = [("F3", 100, 2.6, 0.25), ("F4", 500, 8.8, 0.9), ("F5", 1000, 17.3, 1.7)];
    let mut figures = Vec::new();
    for (name, replicas, kubernetes, target) in sizes {
        let (mut updates, mut undos) = (Vec::new(), Vec::new());
        for _ in 0..bench.runs {
            let machine = Machine::start(bench, &["--runtime", "hollow", "--nodes", "20"])?;
            let (update, undo) = runtime.block_on(roll(&machine, replicas))?;
            updates.push(update);
            undos.push(undo);
        }
        let what = format!("rolling update, {replicas} simulated replicas");
        figures.push(Figure { name, what, unit: "s", samples: updates, kubernetes: Some(kubernetes), target });
        if replicas == 1000 {
            let what = format!("undo, {replicas} simulated replicas");
            figures.push(Figure { name: "F6", what, unit: "s", samples: undos, kubernetes: Some(13.4), target: 1.5 });
        }
    }
    Ok(figures)
}

async fn roll(machine: &Machine, replicas: i32) -> Result<(f64, f64)> {
    let client = machine.client().await?;
    create(&client, replicas).await?;
    let started = Instant::now();
    set_image(&client, "app:2").await?;
    rolled_out(&client, replicas).await?;
    let update = started.elapsed().as_secs_f64();
    // What an undo does to the API: the template of the revision before, as a new revision.
    let started = Instant::now();
    set_image(&client, "app:1").await?;
    rolled_out(&client, replicas).await?;
    Ok((update, started.elapsed().as_secs_f64()))
}

/// Creates a Deployment and waits until all its replicas are available.
pub(crate) async fn create(client: &Client, replicas: i32) -> Result<()> {
    let deployment = serde_json::from_value(json!({
        "metadata": { "name": NAME },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "app": NAME } },
            "template": {
                "metadata": { "labels": { "app": NAME } },
                "spec": { "containers": [{ "name": "app", "image": "app:1" }] },
            },
        },
    }))?;
    let deployments: Api<Deployment> = Api::default_namespaced(client.clone());
    deployments.create(&PostParams::default(), &deployment).await?;
    rolled_out(client, replicas).await
}

async fn set_image(client: &Client, image: &str) -> Result<()> {
    let deployments: Api<Deployment> = Api::default_namespaced(client.clone());
    let patch = json!({ "spec": { "template": { "spec": { "containers": [{ "name": "app", "image": image }] } } } });
    deployments.patch(NAME, &PatchParams::default(), &Patch::Strategic(patch)).await?;
    Ok(())
}

async fn rolled_out(client: &Client, replicas: i32) -> Result<()> {
    let deployments: Api<Deployment> = Api::default_namespaced(client.clone());
    let mut seen = watcher(deployments, watcher::Config::default()).applied_objects().boxed();
    let done = timeout(PATIENCE, async {
        while let Some(deployment) = seen.try_next().await? {
            let Some(status) = &deployment.status else { continue };
            let counts = [status.updated_replicas, status.replicas, status.available_replicas];
            if status.observed_generation >= deployment.metadata.generation && counts.iter().all(|count| *count == Some(replicas))
            {
                return Ok(());
            }
        }
        bail!("the watch ended")
    });
    done.await.context("the rollout does not end")?
}
