//! Changes of what containers that run may use: what of it is granted, and how it comes into effect.
//!
//! <https://kubernetes.io/docs/tasks/configure-pod-container/resize-container-resources/>

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container as Spec, Pod, PodSpec, ResourceRequirements};
use serde::Serialize;

use super::{
    observed::{Container, Run},
    resources::{self, Qos},
    restart::is_sidecar,
};
use crate::schedule::Resources;

/// What can be changed while it runs, in the order in which one that is short is named.
const RESIZABLE: [&str; 2] = ["cpu", "memory"];

/// What a pod was granted of its machine, by container.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Allocation(BTreeMap<String, ResourceRequirements>);

impl Allocation {
    /// All that `spec` asks for.
    pub fn of(spec: &PodSpec) -> Self {
        Self(resizable(spec).map(|container| (container.name.clone(), asked(container))).collect())
    }

    /// What `spec` asks for, but for containers of which `has` knows what they have.
    pub fn taken_over(spec: &PodSpec, has: impl Fn(&str) -> Option<ResourceRequirements>) -> Self {
        let granted = |container: &Spec| has(&container.name).unwrap_or_else(|| asked(container));
        Self(resizable(spec).map(|container| (container.name.clone(), granted(container))).collect())
    }

    /// Whether it is what `spec` asks for.
    pub fn covers(&self, spec: &PodSpec) -> bool {
        let nothing = ResourceRequirements::default();
        let is_same = |container: &Spec| self.0.get(&container.name) == Some(container.resources.as_ref().unwrap_or(&nothing));
        resizable(spec).all(is_same)
    }

    /// The pod as it was granted: all that is done for it goes by that.
    pub fn apply(&self, pod: &Arc<Pod>) -> Arc<Pod> {
        if pod.spec.as_ref().is_none_or(|spec| self.covers(spec)) {
            return Arc::clone(pod);
        }
        let mut granted = Pod::clone(pod);
        let spec = granted.spec.get_or_insert_default();
        for container in spec.init_containers.iter_mut().flatten().chain(&mut spec.containers) {
            if let Some(resources) = self.0.get(&container.name) {
                container.resources = Some(resources.clone());
            }
        }
        Arc::new(granted)
    }
}

/// Main containers and sidecars: what an init container has used is over before it could be changed.
fn resizable(spec: &PodSpec) -> impl Iterator<Item = &Spec> {
    spec.init_containers.iter().flatten().filter(|container| is_sidecar(container)).chain(&spec.containers)
}

fn asked(container: &Spec) -> ResourceRequirements {
    container.resources.clone().unwrap_or_default()
}

/// Why a pod has not got the resources that it asks for; shown as the reason of its condition `PodResizePending`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pending {
    /// There is no room now; it is looked at again when there is more.
    Deferred(String),
    /// The whole machine has not so much.
    Infeasible(String),
}

impl Pending {
    pub(crate) const INFEASIBLE: &str = "Infeasible";

    /// As the condition names it.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Deferred(_) => "Deferred",
            Self::Infeasible(_) => Self::INFEASIBLE,
        }
    }

    /// What is short.
    pub fn message(&self) -> &str {
        match self {
            Self::Deferred(message) | Self::Infeasible(message) => message,
        }
    }
}

/// Why a machine with `allocatable`, of which other pods have `used`, does not grant `asked`; `None` if it does.
pub fn verdict(asked: &Resources, used: &Resources, allocatable: &Resources) -> Option<Pending> {
    let exceeds = |name: &&&str| asked.get(name) > allocatable.get(name);
    if let Some(name) = RESIZABLE.iter().rev().find(exceeds) {
        let (asked, all) = (asked.get(name), allocatable.get(name));
        let message = format!("Node didn't have enough capacity: {name}, requested: {asked}, capacity: {all}");
        return Some(Pending::Infeasible(message));
    }
    RESIZABLE.iter().find_map(|name| {
        let (asked, used, all) = (asked.get(name), used.get(name), allocatable.get(name));
        let is_short = asked > 0 && asked > all.saturating_sub(used);
        is_short.then(|| {
            let message = format!("Node didn't have enough resource: {name}, requested: {asked}, used: {used}, capacity: {all}");
            Pending::Deferred(message)
        })
    })
}

/// The place of a pod among those that wait for room, the first served first: who asks for no more than it has, then by priority, by
/// class of service, and who has waited longest.
pub fn precedence(pod: &Pod, granted: &Pod, since: Timestamp) -> impl Ord + use<> {
    let requests = |pod: &Pod| pod.spec.as_ref().map(Resources::of_pod).unwrap_or_default();
    let (wanted, has) = (requests(pod), requests(granted));
    let is_more = RESIZABLE.iter().any(|name| wanted.get(name) > has.get(name));
    let priority = pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0);
    let is_guaranteed = pod.spec.as_ref().is_some_and(|spec| resources::qos(spec) == Qos::Guaranteed);
    (is_more, Reverse(priority), !is_guaranteed, since)
}

/// How a container gets the resources that it was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// While it runs.
    InPlace,
    /// By a restart, as its policy for one of the resources says.
    Restart,
}

/// The step that a running container is away from what it was granted, if it is.
pub(super) fn step(container: &Spec, run: &Run) -> Option<Step> {
    let (has, nothing) = (run.resources.as_ref()?, ResourceRequirements::default());
    let granted = container.resources.as_ref().unwrap_or(&nothing);
    let amounts = |of: &ResourceRequirements, name: &str| {
        let amount = |list: &Option<BTreeMap<_, _>>| list.as_ref().and_then(|list| list.get(name)).cloned();
        (amount(&of.limits), amount(&of.requests))
    };
    let mut changed = RESIZABLE.iter().filter(|name| amounts(has, name) != amounts(granted, name)).peekable();
    changed.peek()?;
    let restarts = |name: &&str| {
        let policies = container.resize_policy.iter().flatten();
        policies.into_iter().any(|policy| policy.resource_name == **name && policy.restart_policy == "RestartContainer")
    };
    Some(if changed.any(restarts) { Step::Restart } else { Step::InPlace })
}

/// Whether a container is away from what it was granted, and why it stays so, if it failed.
pub(super) fn in_progress<'a>(container: &Spec, known: &'a Container) -> Option<Option<&'a str>> {
    // One that is restarted for it gets there with its next run.
    let run = if known.replaced { known.latest.as_ref() } else { known.running() };
    step(container, run?)?;
    Some(known.resize_failure.as_ref().map(|failure| failure.message.as_str()))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    init_containers: Vec<Asked<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    containers: Vec<Asked<'a>>,
    generation: i64,
    #[serde(skip_serializing_if = "str::is_empty")]
    error: &'a str,
}

#[derive(Serialize)]
struct Asked<'a> {
    name: &'a str,
    resources: ResourceRequirements,
}

impl<'a> Asked<'a> {
    fn of(container: &'a Spec) -> Self {
        Self { name: &container.name, resources: asked(container) }
    }
}

/// What Events say of a resize: `what` (`Pod resize started`), what `pod` asks for, and `error` unless that is empty.
pub fn summary(what: &str, pod: &Pod, generation: i64, error: &str) -> String {
    let nothing = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&nothing);
    let sidecars = spec.init_containers.iter().flatten().filter(|container| is_sidecar(container));
    let summary = Summary {
        init_containers: sidecars.map(Asked::of).collect(),
        containers: spec.containers.iter().map(Asked::of).collect(),
        generation,
        error,
    };
    format!("{what}: {}", serde_json::to_string(&summary).unwrap_or_default())
}

#[cfg(test)]
mod tests;
