//! Containers that are given other resources while they run.

use std::time::Duration;

use windlass_oci::container::{Resources, RuntimeError};

use crate::{
    Test,
    fixture::{Machine, run},
};

pub(crate) const TESTS: &[Test] =
    &[("limits_change_while_it_runs", limits_change_while_it_runs), ("memory_in_use_stays", memory_in_use_stays)];

const LIMIT: Duration = Duration::from_secs(20);

/// What the container itself sees of its limits, whichever version of control groups there is: memory, CPU quota, shares or weight.
const LOOK: &str = "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us cpu/cpu.shares memory.max cpu.max \
                    cpu.weight 2> /dev/null | head -n 3";

async fn seen(machine: &Machine, id: &str) -> Vec<String> {
    let look = ["sh", "-c", LOOK].map(str::to_owned);
    let done = machine.runtime.exec(id, &look, LIMIT).await.unwrap();
    // Version 2 has the period beside the quota.
    let first = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    String::from_utf8(done.output).unwrap().lines().map(first).collect()
}

fn limits_change_while_it_runs() {
    let mut machine = Machine::new();
    run(async {
        let mut spec = machine.script("sleep 1000").await;
        spec.resources = Resources { cpu_shares: 102, memory_limit: 64 << 20, oom_score_adj: 900, ..Resources::default() };
        let id = machine.start(spec).await;
        let before = seen(&machine, &id).await;
        assert_eq!(before[0], (64 << 20).to_string(), "{before:?}");

        let more =
            Resources { cpu_shares: 512, cpu_quota: 50_000, cpu_period: 100_000, memory_limit: 128 << 20, oom_score_adj: 0 };
        machine.runtime.update_container(&id, more.clone(), "new".to_owned()).await.unwrap();
        let after = seen(&machine, &id).await;
        assert_eq!(after[..2], [(128 << 20).to_string(), "50000".to_owned()]);
        let share = |of: &[String]| of[2].parse::<u64>().unwrap();
        assert!(share(&after) > share(&before), "{before:?} {after:?}");

        // It is as if it had been made so; who is killed first was settled at its start.
        machine.reopen();
        let container = machine.runtime.container(&id).unwrap();
        assert_eq!((container.spec.resources, container.spec.note.as_str()), (Resources { oom_score_adj: 900, ..more }, "new"));
    });
}

fn memory_in_use_stays() {
    let machine = Machine::new();
    run(async {
        let mut spec = machine.script("x=$(yes | head -c 20000000); echo holding; sleep 1000; echo over").await;
        spec.resources = Resources { memory_limit: 256 << 20, ..Resources::default() };
        let id = machine.start(spec).await;
        machine.says("holding").await;
        let before = seen(&machine, &id).await;
        let less = Resources { cpu_shares: 2, memory_limit: 8 << 20, ..Resources::default() };
        let refused = machine.runtime.update_container(&id, less, String::new()).await.unwrap_err();
        assert!(
            matches!(refused, RuntimeError::MemoryInUse { limit, usage } if limit == 8 << 20 && usage > 20_000_000),
            "{refused}"
        );
        assert_eq!(seen(&machine, &id).await, before);
    });
}
