//! F1, F2, F12: time to ready, memory, size.

use std::{fs, thread, time::Duration};

use anyhow::Result;

use super::{Bench, figure::Figure, hollow, machine::Machine};

pub(crate) fn measure(bench: &Bench, runtime: &tokio::runtime::Runtime) -> Result<Vec<Figure>> {
    let (mut ready, mut idle, mut loaded) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.runs {
        let machine = Machine::start(bench, &["--runtime", "hollow", "--nodes", "10"])?;
        ready.push(machine.ready_after.as_secs_f64());
        thread::sleep(Duration::from_secs(1));
        idle.push(machine.resident_mib()?);
        runtime.block_on(async {
            let client = machine.client().await?;
            hollow::create(&client, 500).await
        })?;
        loaded.push(machine.resident_mib()?);
    }
    #[expect(clippy::cast_precision_loss, reason = "a file of less than 2^52 bytes")]
    let size = fs::metadata(&bench.binary)?.len() as f64 / f64::from(1 << 20);
    let figure = |name, what: &str, unit, samples, kubernetes, target| Figure {
        name,
        what: what.to_owned(),
        unit,
        samples,
        kubernetes,
        target,
    };
    Ok(vec![
        figure("F1", "start of the process to ready", "s", ready, Some(4.4), 0.1),
        figure("F2", "resident memory, idle", "MiB", idle, Some(586.0), 40.0),
        figure("F2", "resident memory, after 500 replicas", "MiB", loaded, Some(807.0), 120.0),
        figure("F12", "binary, stripped", "MiB", vec![size], Some(480.0), 40.0),
    ])
}
