//! F7 to F10: rollouts and starts of real containers, seen from outside.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{DeleteParams, PostParams},
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::json;
use tokio::time::timeout;

use super::{Bench, figure::Figure, machine::Machine};
use crate::{fixtures, process::output, test::target_dir};

const PATIENCE: Duration = Duration::from_secs(60);

/// F7 and F8 are what the demo does and prints: 3 containers of an application that exits at once on SIGTERM, maxSurge 1,
/// maxUnavailable 0, readiness period 1 s, a new connection a request.
pub(crate) fn rollout(bench: &Bench, _: &tokio::runtime::Runtime) -> Result<Vec<Figure>> {
    let (mut seconds, mut lost) = (Vec::new(), Vec::new());
    for _ in 0..bench.runs {
        let text = output(std::process::Command::new(&bench.binary).arg("demo"))?;
        let number = |before: &str, after: &str| -> Result<f64> {
            let line = text.lines().find_map(|line| line.split_once(before)).map(|(_, rest)| rest);
            let word = line.and_then(|rest| rest.trim().split(after).next()).context("the demo prints no such figure")?;
            word.trim().parse().with_context(|| format!("{word:?} is not a number"))
        };
        seconds.push(number("version 2 serves everywhere, after", " s")?);
        lost.push(number("lost ", "\n")?);
    }
    let what = "rolling update, 3 real containers".to_owned();
    Ok(vec![
        Figure { name: "F7", what, unit: "s", samples: seconds, kubernetes: Some(2.6), target: 1.5 },
        Figure {
            name: "F8",
            what: "requests lost over the demo".to_owned(),
            unit: "",
            samples: lost,
            kubernetes: Some(46.0),
            target: 0.0,
        },
    ])
}

/// F10: from the binding of a pod to Running as a watch sees it, image present.
pub(crate) fn start(bench: &Bench, runtime: &tokio::runtime::Runtime) -> Result<Vec<Figure>> {
    let fixtures_dir = target_dir()?.join("fixtures");
    let registry = fixtures::serve(&fixtures_dir)?;
    let mirror = format!("--registry-mirror=docker.io=http://{}", registry.address());
    let machine = Machine::start(bench, &[&mirror])?;
    let samples = runtime.block_on(async {
        let client = machine.client().await?;
        let pods: Api<Pod> = Api::default_namespaced(client);
        // The first pulls the image.
        start_pod(&pods).await?;
        let mut samples = Vec::new();
        for _ in 0..bench.runs * 4 {
            samples.push(start_pod(&pods).await?);
        }
        anyhow::Ok(samples)
    })?;
    let what = "container start, bind to Running, image present".to_owned();
    Ok(vec![Figure { name: "F10", what, unit: "ms", samples, kubernetes: Some(255.0), target: 50.0 }])
}

async fn start_pod(pods: &Api<Pod>) -> Result<f64> {
    let pod = serde_json::from_value(json!({
        "metadata": { "name": "start" },
        "spec": { "terminationGracePeriodSeconds": 0, "containers": [
            { "name": "sleep", "image": "busybox:1.36", "command": ["sleep", "3600"] },
        ] },
    }))?;
    let mut seen = watcher(pods.clone(), watcher::Config::default()).applied_objects().boxed();
    pods.create(&PostParams::default(), &pod).await.context("cannot create the pod")?;
    let mut bound = None;
    let running = timeout(PATIENCE, async {
        while let Some(pod) = seen.try_next().await? {
            if bound.is_none() && pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some()) {
                bound = Some(Instant::now());
            }
            let ready = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref()).is_some_and(|statuses| {
                statuses.iter().any(|status| status.state.as_ref().is_some_and(|state| state.running.is_some()))
            });
            if ready && pod.metadata.deletion_timestamp.is_none() {
                return anyhow::Ok(bound.map_or(0.0, |bound: Instant| bound.elapsed().as_secs_f64() * 1e3));
            }
        }
        anyhow::bail!("the watch ended")
    });
    let took = running.await.context("the pod does not start")??;
    pods.delete("start", &DeleteParams::default().grace_period(0)).await?;
    while pods.get_opt("start").await?.is_some() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(took)
}
