//! How long the steps of a container's life take: `cargo test -p windlass-oci --test machine -- --measure`.

use std::time::{Duration, Instant};

use crate::fixture::{Machine, run};

const ROUNDS: usize = 30;

/// Prints the median and the best of each step.
pub(crate) fn measure() {
    let machine = Machine::new();
    let mut steps: [(&str, Vec<Duration>); 6] =
        ["sandbox", "create", "start", "exec", "kill", "remove"].map(|name| (name, Vec::new()));
    run(async {
        let spec = machine.script("sleep 1000").await;
        for _ in 0..ROUNDS {
            let mut times = vec![Instant::now()];
            let sandbox = machine.sandbox().await;
            times.push(Instant::now());
            let container = machine.runtime.create_container(&sandbox.id, spec.clone()).await.unwrap();
            times.push(Instant::now());
            machine.runtime.start_container(&container.id).await.unwrap();
            times.push(Instant::now());
            machine.runtime.exec(&container.id, &["id".into()], Duration::from_secs(9)).await.unwrap();
            times.push(Instant::now());
            machine.runtime.stop_container(&container.id, Duration::ZERO).await.unwrap();
            times.push(Instant::now());
            machine.runtime.remove_sandbox(&sandbox.id).await.unwrap();
            times.push(Instant::now());
            for ((_, taken), pair) in steps.iter_mut().zip(times.windows(2)) {
                taken.push(pair[1] - pair[0]);
            }
        }
    });
    for (name, mut taken) in steps {
        taken.sort();
        println!("{name:8} median {:?}, best {:?}", taken[ROUNDS / 2], taken[0]);
    }
}
