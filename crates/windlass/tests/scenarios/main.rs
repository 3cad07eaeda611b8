//! The scenarios that Windlass was born from, with real parts: kubectl, containers, a registry, nginx.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "in a test, that is how an expectation fails")]

mod bounds;
mod daemons;
mod kills;
mod load;
mod lost;
mod machine;
mod registry;
mod restart;
mod script;
mod traces;
mod upgrade;
mod watches;
mod without_root;

use machine::{Kubectl, Machine};

/// Runs a golden script with every kubectl there is, each on a machine of its own.
fn check(name: &str, args: &[&str]) {
    for kubectl in Kubectl::all() {
        let machine = Machine::start(args);
        script::run(name, &machine, &kubectl);
        machine.stop();
    }
}

macro_rules! scripts {
    ($args:expr, $($name:ident: $file:literal,)*) => { $(#[test] fn $name() { check($file, $args); })* };
}

/// What concerns the API alone needs no containers.
const HOLLOW: &[&str] = &["--runtime", "hollow"];

scripts! { HOLLOW,
    a1_autoscaler: "a1-autoscaler",
    a2_quota: "a2-quota",
    replication_controller: "replication-controller",
}

/// A machine of several nodes.
const THREE_NODES: &[&str] = &["--runtime", "hollow", "--nodes", "3"];

scripts! { THREE_NODES,
    budget_and_drain: "budget-and-drain",
    left_behind: "left-behind",
    many_replicas: "many-replicas",
}

scripts! { &[],
    c1_live_configmap: "c1-live-configmap",
    c2_versioned_configmap: "c2-versioned-configmap",
    c3_secrets: "c3-secrets",
    d1_apply_get_describe: "d1-apply-get-describe",
    d2_set_image: "d2-set-image",
    d3_edit: "d3-edit",
    d4_history: "d4-history",
    d5_status: "d5-status",
    d6_undo: "d6-undo",
    d7_pause_restart_scale: "d7-pause-restart-scale",
    d8_wrong_image: "d8-wrong-image",
    d10_crash_loop: "d10-crash-loop",
    d11_recreate: "d11-recreate",
    d12_delete: "d12-delete",
    d13_pull_policy: "d13-pull-policy",
    s1_service: "s1-service",
    s3_pipeline: "s3-pipeline",
    ephemeral_volume: "ephemeral-volume",
    storage: "storage",
    w1_on_delete: "w1-on-delete",
    w3_partition: "w3-partition",
    w4_history_undo: "w4-history-undo",
    w5_two_step_database: "w5-two-step-database",
    x1_streams: "x1-streams",
    x2_confined: "x2-confined",
    x3_hooks_and_ends: "x3-hooks-and-ends",
    x4_debug: "x4-debug",
    x5_long_logs: "x5-long-logs",
    x6_refused: "x6-refused",
    x7_last_words: "x7-last-words",
}
