//! How long a container takes.
use std::time::{Duration, Instant};

use crate::{
    Test,
    fixture::{Machine, run},
};

pub(crate) const TESTS: &[Test] = &[("timing", timing)];

fn timing() {
    let machine = Machine::new();
    run(async {
        let spec = machine.script("sleep 1000").await;
        for _ in 0..std::env::var("N").map_or(8, |n| n.parse().unwrap()) {
            let t0 = Instant::now();
            let sandbox = machine.sandbox().await;
            let t1 = Instant::now();
            let container = machine.runtime.create_container(&sandbox.id, spec.clone()).await.unwrap();
            let t2 = Instant::now();
            machine.runtime.start_container(&container.id).await.unwrap();
            let t3 = Instant::now();
            if std::env::var("EXEC").is_ok() {
                machine.runtime.exec(&container.id, &["true".into()], Duration::from_secs(9)).await.ok();
            }
            let t4 = Instant::now();
            machine.runtime.stop_container(&container.id, Duration::ZERO).await.unwrap();
            let t5 = Instant::now();
            machine.runtime.remove_container(&container.id).await.unwrap();
            let t6 = Instant::now();
            machine.runtime.remove_sandbox(&sandbox.id).await.unwrap();
            println!(
                "sandbox {:?} create {:?} start {:?} exec {:?} kill {:?} remove {:?} rmsandbox {:?}",
                t1 - t0,
                t2 - t1,
                t3 - t2,
                t4 - t3,
                t5 - t4,
                t6 - t5,
                t6.elapsed()
            );
        }
    });
}
