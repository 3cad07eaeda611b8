//! The status of a pod: phase, conditions, containers.

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Container as Spec, ContainerStatus, HostIP, Pod, PodIP, PodSpec, PodStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::{
    conditions,
    container_status::container_status,
    ephemeral::ephemeral,
    observed::{Container, Observed},
    plan::is_over,
    resources,
    restart::{is_sidecar, pod_policy},
};

/// Words what is known of `pod`. `previous` is what was said last: times of conditions carry over, and a pod that has ended stays so.
pub fn status(pod: &Pod, observed: &Observed, previous: &PodStatus, now: Timestamp) -> PodStatus {
    let Some(spec) = &pod.spec else { return previous.clone() };
    let phase = match previous.phase.as_deref() {
        Some(ended @ ("Succeeded" | "Failed")) => ended,
        _ => phase(spec, observed),
    };
    let statuses = |containers: &[Spec], is_init: bool| -> Vec<ContainerStatus> {
        containers.iter().map(|container| container_status(pod, spec, container, is_init, observed, now)).collect()
    };
    let (reason, message) = match &observed.ended {
        Some((reason, message)) => (Some(reason.clone()), Some(message.clone())),
        None => (None, None),
    };
    let start_time = observed.started_at.map(Time).or_else(|| previous.start_time.clone());
    let qos_class = Some(resources::qos(spec).name().to_owned());
    if observed.refused {
        let (phase, conditions) = (Some(phase.to_owned()), previous.conditions.clone());
        let observed_generation = pod.metadata.generation;
        return PodStatus {
            phase,
            reason,
            message,
            start_time,
            conditions,
            qos_class,
            observed_generation,
            ..PodStatus::default()
        };
    }
    let ip = |address: &std::net::IpAddr| address.to_string();
    PodStatus {
        phase: Some(phase.to_owned()),
        reason,
        message,
        conditions: Some(conditions::conditions(pod, spec, observed, phase, previous, now)),
        host_ip: observed.host_ips.first().map(ip),
        host_ips: non_empty(observed.host_ips.iter().map(|address| HostIP { ip: ip(address) }).collect()),
        pod_ip: observed.pod_ips.first().map(ip),
        pod_ips: non_empty(observed.pod_ips.iter().map(|address| PodIP { ip: ip(address) }).collect()),
        start_time,
        init_container_statuses: spec.init_containers.as_ref().and_then(|containers| non_empty(statuses(containers, true))),
        container_statuses: Some(statuses(&spec.containers, false)),
        ephemeral_container_statuses: non_empty(ephemeral_statuses(pod, spec, observed, now)),
        qos_class,
        observed_generation: pod.metadata.generation,
        ..PodStatus::default()
    }
}

/// Ephemeral containers are never ready, as nothing is routed to them, and do not come back.
fn ephemeral_statuses(pod: &Pod, spec: &PodSpec, observed: &Observed, now: Timestamp) -> Vec<ContainerStatus> {
    let once =
        PodSpec { restart_policy: Some("Never".to_owned()), init_containers: spec.init_containers.clone(), ..PodSpec::default() };
    let status = |container: Spec| ContainerStatus {
        ready: false,
        started: None,
        ..container_status(pod, &once, &container, false, observed, now)
    };
    ephemeral(spec).map(status).collect()
}

fn non_empty<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

/// Phase by what the containers do, as upstream counts them.
fn phase(spec: &PodSpec, observed: &Observed) -> &'static str {
    let unknown = Container::default();
    let of = |container: &Spec| observed.containers.get(&container.name).unwrap_or(&unknown).clone();
    if observed.ended.is_some() && observed.stopped {
        return "Failed";
    }
    let mains: Vec<Container> = spec.containers.iter().map(of).collect();
    let all_ended = mains.iter().all(|known| known.outcome().is_some());
    if all_ended && (observed.stopped || is_over(spec, observed)) && sidecars_ended(spec, observed) {
        return if mains.iter().all(Container::succeeded) { "Succeeded" } else { "Failed" };
    }
    let main_has_run = mains.iter().any(|known| known.latest.is_some());
    for container in spec.init_containers.iter().flatten() {
        let known = of(container);
        if is_sidecar(container) {
            if !main_has_run && !known.started {
                return "Pending";
            }
        } else if !main_has_run && !known.succeeded() {
            let failed = known.outcome().is_some() && (pod_policy(spec) == "Never" || observed.stopped);
            return if failed { "Failed" } else { "Pending" };
        }
    }
    let never_ran = |known: &Container| known.latest.is_none();
    if mains.iter().any(never_ran) { "Pending" } else { "Running" }
}

fn sidecars_ended(spec: &PodSpec, observed: &Observed) -> bool {
    let running = |container: &&Spec| observed.containers.get(&container.name).is_some_and(|known| known.running().is_some());
    !spec.init_containers.iter().flatten().any(|container| running(&container))
}

#[cfg(test)]
mod tests;
