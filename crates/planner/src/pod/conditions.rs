//! The conditions of a pod that the kubelet owns.

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Pod, PodCondition, PodSpec, PodStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::{
    container_status::is_ready,
    observed::{Container, Observed, Sandbox},
    resize,
    restart::is_sidecar,
};

/// Types of the conditions that the kubelet writes; all others belong to somebody else.
pub const OWNED: [&str; 5] = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];

/// The pod asks for other resources than it was granted.
pub const RESIZE_PENDING: &str = "PodResizePending";
/// It has not yet got what it was granted.
pub const RESIZE_IN_PROGRESS: &str = "PodResizeInProgress";
/// Types of the conditions that the kubelet writes while resources are being changed, and takes away after it.
pub const OF_RESIZE: [&str; 2] = [RESIZE_PENDING, RESIZE_IN_PROGRESS];

/// The condition `kind` of `status`, if it is there.
pub fn find<'a>(status: &'a PodStatus, kind: &str) -> Option<&'a PodCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == kind)
}

/// Whether the condition `kind` of `status` is `True`.
pub fn is_true(status: Option<&PodStatus>, kind: &str) -> bool {
    status.and_then(|status| find(status, kind)).is_some_and(|condition| condition.status == "True")
}

struct Verdict {
    holds: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

const HOLDS: Verdict = Verdict { holds: true, reason: None, message: None };

fn fails(reason: &'static str, message: Option<String>) -> Verdict {
    Verdict { holds: false, reason: Some(reason), message }
}

/// The owned conditions in upstream's order; the time of one whose status stays as in `previous` stays too.
pub(super) fn conditions(
    pod: &Pod,
    spec: &PodSpec,
    observed: &Observed,
    phase: &str,
    previous: &PodStatus,
    now: Timestamp,
) -> Vec<PodCondition> {
    let containers_ready = containers_ready(pod, spec, observed, phase);
    let ready = ready(pod, spec, &containers_ready);
    let sandbox_ready = if observed.sandbox == Sandbox::Ready { HOLDS } else { Verdict { holds: false, ..HOLDS } };
    let verdicts = [sandbox_ready, initialized(spec, observed, phase), ready, containers_ready, HOLDS];
    let owned = OWNED.into_iter().zip(verdicts.map(Some));
    owned
        .chain(OF_RESIZE.into_iter().zip([pending(observed), in_progress(spec, observed)]))
        .filter_map(|(kind, verdict)| Some(condition(pod, kind, verdict?, previous, now)))
        .collect()
}

fn pending(observed: &Observed) -> Option<Verdict> {
    let pending = observed.pending_resize.as_ref()?;
    Some(Verdict { reason: Some(pending.reason()), message: Some(pending.message().to_owned()), ..HOLDS })
}

/// While a container has not what it was granted.
fn in_progress(spec: &PodSpec, observed: &Observed) -> Option<Verdict> {
    let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    let under_way: Vec<Option<&str>> =
        containers.filter_map(|container| resize::in_progress(container, known(observed, &container.name)?)).collect();
    let errors: Vec<&str> = under_way.iter().copied().flatten().collect();
    match (under_way.is_empty(), errors.is_empty()) {
        (true, _) => None,
        (false, true) => Some(HOLDS),
        (false, false) => Some(Verdict { reason: Some("Error"), message: Some(errors.join(", ")), ..HOLDS }),
    }
}

fn condition(pod: &Pod, kind: &str, verdict: Verdict, previous: &PodStatus, now: Timestamp) -> PodCondition {
    let status = if verdict.holds { "True" } else { "False" };
    let before = previous.conditions.iter().flatten().find(|condition| condition.type_ == kind && condition.status == status);
    let since = before.and_then(|condition| condition.last_transition_time.clone()).unwrap_or(Time(now));
    PodCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        last_transition_time: Some(since),
        last_probe_time: None,
        reason: verdict.reason.map(ToOwned::to_owned),
        message: verdict.message,
        observed_generation: pod.metadata.generation,
    }
}

fn known<'a>(observed: &'a Observed, name: &str) -> Option<&'a Container> {
    observed.containers.get(name)
}

fn list(names: &[&str]) -> String {
    format!("[{}]", names.join(" "))
}

fn initialized(spec: &PodSpec, observed: &Observed, phase: &str) -> Verdict {
    if phase == "Succeeded" {
        return Verdict { reason: Some("PodCompleted"), ..HOLDS };
    }
    let main_has_run =
        spec.containers.iter().any(|container| known(observed, &container.name).is_some_and(|known| known.latest.is_some()));
    let incomplete: Vec<&str> = spec
        .init_containers
        .iter()
        .flatten()
        .filter(|container| {
            let known = known(observed, &container.name);
            !known.is_some_and(|known| if is_sidecar(container) { known.started } else { known.succeeded() })
        })
        .map(|container| container.name.as_str())
        .collect();
    if main_has_run || incomplete.is_empty() {
        return HOLDS;
    }
    fails("ContainersNotInitialized", Some(format!("containers with incomplete status: {}", list(&incomplete))))
}

fn containers_ready(pod: &Pod, spec: &PodSpec, observed: &Observed, phase: &str) -> Verdict {
    match phase {
        "Succeeded" => return fails("PodCompleted", None),
        "Failed" => return fails("PodFailed", None),
        _ => {}
    }
    let sidecars =
        spec.init_containers.iter().flatten().filter(|container| is_sidecar(container)).map(|container| (container, true));
    let main = spec.containers.iter().map(|container| (container, false));
    let unready: Vec<&str> = sidecars
        .chain(main)
        .filter(|(container, is_init)| {
            !known(observed, &container.name).is_some_and(|known| is_ready(pod, container, *is_init, known, observed))
        })
        .map(|(container, _)| container.name.as_str())
        .collect();
    if unready.is_empty() {
        return HOLDS;
    }
    fails("ContainersNotReady", Some(format!("containers with unready status: {}", list(&unready))))
}

fn ready(pod: &Pod, spec: &PodSpec, containers_ready: &Verdict) -> Verdict {
    if !containers_ready.holds {
        return Verdict { message: containers_ready.message.clone(), ..*containers_ready };
    }
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let unmet: Vec<String> = spec
        .readiness_gates
        .iter()
        .flatten()
        .filter_map(|gate| {
            let kind = &gate.condition_type;
            match conditions.into_iter().flatten().find(|condition| condition.type_ == *kind) {
                None => Some(format!("corresponding condition of pod readiness gate \"{kind}\" does not exist.")),
                Some(condition) if condition.status != "True" => {
                    Some(format!("the status of pod readiness gate \"{kind}\" is not \"True\", but {}", condition.status))
                }
                Some(_) => None,
            }
        })
        .collect();
    if unmet.is_empty() { HOLDS } else { fails("ReadinessGatesNotReady", Some(unmet.join(", "))) }
}
