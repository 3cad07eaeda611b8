//! F11: durable creates of small objects over HTTPS.

use std::time::{Duration, Instant};

use anyhow::Result;
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, api::PostParams};
use serde_json::json;

use super::{Bench, figure::Figure, machine::Machine};

/// How long each number of clients writes.
const SPAN: Duration = Duration::from_secs(3);

pub(crate) fn measure(bench: &Bench, runtime: &tokio::runtime::Runtime) -> Result<Vec<Figure>> {
    let machine = Machine::start(bench, &["--runtime", "hollow"])?;
    let mut latencies = runtime.block_on(write(&machine, 1, "one"))?;
    latencies.sort_by(f64::total_cmp);
    let median = latencies.get(latencies.len() / 2).copied().unwrap_or(f64::NAN);
    let mut rates = Vec::new();
    for run in 0..bench.runs {
        let writes = runtime.block_on(write(&machine, 64, &format!("many-{run}")))?.len();
        #[expect(clippy::cast_precision_loss, reason = "a few ten thousand")]
        rates.push(writes as f64 / SPAN.as_secs_f64());
    }
    Ok(vec![
        Figure {
            name: "F11",
            what: "durable create, 1 client, p50".to_owned(),
            unit: "ms",
            samples: vec![median],
            kubernetes: Some(5.5),
            target: 1.5,
        },
        Figure {
            // The more the better, so the ratio reads the other way round here.
            name: "F11",
            what: "durable creates, 64 clients".to_owned(),
            unit: "1/s",
            samples: rates,
            kubernetes: Some(784.0),
            target: 8000.0,
        },
    ])
}

/// Latency of each create, in milliseconds.
async fn write(machine: &Machine, clients: usize, label: &str) -> Result<Vec<f64>> {
    let deadline = Instant::now() + SPAN;
    let writers = (0..clients).map(|writer| async move {
        // A client each, hence a connection each.
        let config_maps: Api<ConfigMap> = Api::default_namespaced(machine.client().await?);
        let mut latencies = Vec::new();
        while Instant::now() < deadline {
            let name = format!("{label}-{writer}-{}", latencies.len());
            let config_map =
                serde_json::from_value(json!({ "metadata": { "name": name }, "data": { "text": "x".repeat(900) } }))?;
            let began = Instant::now();
            config_maps.create(&PostParams::default(), &config_map).await?;
            latencies.push(began.elapsed().as_secs_f64() * 1e3);
        }
        anyhow::Ok(latencies)
    });
    Ok(try_join_all(writers).await?.into_iter().flatten().collect())
}
