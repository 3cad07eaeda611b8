//! The row of a pod: how many containers are ready, and one word for the state it is in.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Column, age,
    cell::{self, count, integer, items, text, text_or},
};

pub(crate) const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::text("Ready"),
    Column::text("Status"),
    Column::text("Restarts"),
    Column::AGE,
    Column::wide("IP"),
    Column::wide("Node"),
    Column::wide("Nominated Node"),
    Column::wide("Readiness Gates"),
];

pub(crate) fn row(pod: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&pod["spec"], &pod["status"]);
    let sidecars = items(&spec["initContainers"]).filter(|container| restarts_always(container)).count();
    let Summary { reason, ready, restarts } = Summary::of(pod);
    let total = count(&spec["containers"]) + sidecars;
    vec![
        cell::name(pod),
        format!("{ready}/{total}").into(),
        reason.into(),
        restarts.show(now).into(),
        cell::age(pod, now),
        text_or(&status["podIPs"][0]["ip"], "<none>").into(),
        text_or(&spec["nodeName"], "<none>").into(),
        text_or(&status["nominatedNodeName"], "<none>").into(),
        readiness_gates(pod).into(),
    ]
}

/// Says of a pod that has ended for good that its row will not change; nothing of any other object.
pub(super) fn row_conditions(object: &Value) -> Option<Value> {
    if object["kind"] != "Pod" {
        return None;
    }
    let (reason, message) = match text(&object["status"]["phase"]) {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return None,
    };
    Some(json!([{ "type": "Completed", "status": "True", "reason": reason, "message": message }]))
}

/// What the statuses of all containers come to.
struct Summary {
    reason: String,
    ready: usize,
    restarts: Restarts,
}

/// Restarts of containers, and when the last container that was restarted had ended.
#[derive(Default)]
struct Restarts {
    count: i64,
    last: Option<Timestamp>,
}

impl Restarts {
    fn add(&mut self, container_status: &Value) {
        self.count += integer(&container_status["restartCount"]);
        self.last = self.last.max(age::parse(&container_status["lastState"]["terminated"]["finishedAt"]));
    }

    fn show(&self, now: Timestamp) -> String {
        match self.last {
            Some(last) if self.count != 0 => {
                format!("{} ({} ago)", self.count, age::human_duration(now.duration_since(last).as_secs()))
            }
            _ => self.count.to_string(),
        }
    }
}

impl Summary {
    fn of(pod: &Value) -> Self {
        let status = &pod["status"];
        let mut reason = text_or(&status["reason"], text(&status["phase"])).to_owned();
        if items(&status["conditions"]).any(is_scheduling_gated) {
            "SchedulingGated".clone_into(&mut reason);
        }
        let init = InitSummary::of(pod);
        let mut summary = Self { reason, ready: init.ready, restarts: init.restarts };
        let initializing = init.reason.is_some();
        if let Some(reason) = init.reason {
            summary.reason = reason;
        }
        if !initializing || has_condition(status, "Initialized") {
            summary.restarts = init.sidecar_restarts;
            summary.add_containers(status);
        }
        summary.reason = match text(&status["phase"]) {
            _ if pod["metadata"]["deletionTimestamp"].is_null() => summary.reason,
            _ if status["reason"] == "NodeLost" => "Unknown".to_owned(),
            "Succeeded" | "Failed" => summary.reason,
            _ => "Terminating".to_owned(),
        };
        summary
    }

    /// The first container that does not run has the last word, so they are read backwards.
    fn add_containers(&mut self, status: &Value) {
        let mut running = false;
        for container in items(&status["containerStatuses"]).rev() {
            self.restarts.add(container);
            let state = &container["state"];
            if let Some(reason) = state["waiting"]["reason"].as_str().filter(|reason| !reason.is_empty()) {
                reason.clone_into(&mut self.reason);
            } else if !state["terminated"].is_null() {
                self.reason = ended(&state["terminated"]);
            } else if container["ready"] == true && !state["running"].is_null() {
                running = true;
                self.ready += 1;
            }
        }
        if running && self.reason == "Completed" {
            self.reason = if has_condition(status, "Ready") { "Running" } else { "NotReady" }.to_owned();
        }
    }
}

/// What the statuses of the init containers come to, up to the first that is not done.
#[derive(Default)]
struct InitSummary {
    /// Why initialization is not over, if it is not.
    reason: Option<String>,
    /// Sidecars that are ready.
    ready: usize,
    restarts: Restarts,
    sidecar_restarts: Restarts,
}

impl InitSummary {
    fn of(pod: &Value) -> Self {
        let specs = &pod["spec"]["initContainers"];
        let mut summary = Self::default();
        for (index, container) in items(&pod["status"]["initContainerStatuses"]).enumerate() {
            let sidecar = items(specs).any(|spec| spec["name"] == container["name"] && restarts_always(spec));
            summary.restarts.add(container);
            if sidecar {
                summary.sidecar_restarts.add(container);
            }
            let (terminated, waiting) = (&container["state"]["terminated"], &container["state"]["waiting"]);
            if !terminated.is_null() && integer(&terminated["exitCode"]) == 0 {
                continue;
            }
            if sidecar && container["started"] == true {
                summary.ready += usize::from(container["ready"] == true);
                continue;
            }
            let reason = match text(&waiting["reason"]) {
                _ if !terminated.is_null() => ended(terminated),
                "" | "PodInitializing" => format!("{index}/{}", count(specs)),
                reason => reason.to_owned(),
            };
            summary.reason = Some(format!("Init:{reason}"));
            break;
        }
        summary
    }
}

/// Why a container ended, in one word.
fn ended(terminated: &Value) -> String {
    match (text(&terminated["reason"]), integer(&terminated["signal"])) {
        ("", 0) => format!("ExitCode:{}", integer(&terminated["exitCode"])),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn restarts_always(container: &Value) -> bool {
    container["restartPolicy"] == "Always"
}

fn is_scheduling_gated(condition: &Value) -> bool {
    condition["type"] == "PodScheduled" && condition["reason"] == "SchedulingGated"
}

fn has_condition(status: &Value, kind: &str) -> bool {
    items(&status["conditions"]).any(|condition| condition["type"] == kind && condition["status"] == "True")
}

fn readiness_gates(pod: &Value) -> String {
    let gates = &pod["spec"]["readinessGates"];
    if count(gates) == 0 {
        return "<none>".to_owned();
    }
    let open = items(gates).filter(|gate| has_condition(&pod["status"], text(&gate["conditionType"]))).count();
    format!("{open}/{}", count(gates))
}
