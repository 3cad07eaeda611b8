//! One worker a pod: it alone starts, watches and stops that pod, and never waits for another's.

mod adopt;
mod container_config;
mod ended;
mod kill;
mod objects;
mod operation;
mod resize;
mod set_up;
mod start;
mod status;
mod stop;
mod unroute;
mod worker;

use std::{borrow::Cow, sync::Arc};

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodStatus};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use windlass_planner::pod::ephemeral::ephemeral;

pub(crate) use self::{adopt::Existing, container_config::note::GRACE_SECONDS as GRACE_NOTE, worker::Worker};
use crate::kubelet::Grant;

/// What is told to a worker.
#[derive(Debug, Clone)]
pub(crate) enum Message {
    /// A container of the pod ended.
    Exited(String),
    /// Exits may have been missed: look at all containers.
    Relist,
}

/// The rest of the kubelet's hold on a worker.
#[derive(Debug)]
pub(crate) struct Handle {
    /// The pod as the API has it.
    pub(crate) pod: watch::Sender<Arc<Pod>>,
    /// What this machine has granted it.
    pub(crate) grant: watch::Sender<Grant>,
    pub(crate) inbox: mpsc::Sender<Message>,
    /// What the worker said of the pod last.
    pub(crate) status: watch::Receiver<Arc<PodStatus>>,
    /// Cancelled when the pod is gone from the API.
    pub(crate) gone: CancellationToken,
    /// It takes nothing of this machine.
    pub(crate) is_refused: bool,
}

/// Messages that wait for a worker; it looks at everything when it missed some.
pub(crate) const INBOX: usize = 64;

pub(crate) fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

pub(crate) fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

pub(crate) fn namespace(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or("default")
}

/// All containers of a pod, init containers first and ephemeral ones last, each with whether it is an init container.
pub(crate) fn containers(pod: &Pod) -> impl DoubleEndedIterator<Item = (Cow<'_, Container>, bool)> {
    let init = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten()).map(|init| (Cow::Borrowed(init), true));
    let main = pod.spec.iter().flat_map(|spec| &spec.containers).map(|main| (Cow::Borrowed(main), false));
    init.chain(main).chain(pod.spec.iter().flat_map(ephemeral).map(|container| (Cow::Owned(container), false)))
}

pub(crate) fn container<'a>(pod: &'a Pod, name: &str) -> Option<Cow<'a, Container>> {
    containers(pod).map(|(container, _)| container).find(|container| container.name == name)
}

/// The statuses of all containers of a pod.
pub(crate) fn statuses(status: &PodStatus) -> impl Iterator<Item = &ContainerStatus> {
    let lists = [&status.init_container_statuses, &status.container_statuses, &status.ephemeral_container_statuses];
    lists.into_iter().flatten().flatten()
}

/// Whether nothing of the pod will run any more.
pub(crate) fn has_ended(status: &PodStatus) -> bool {
    matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"))
}

/// Path of a container in the spec, as events name it.
pub(crate) fn field_path(pod: &Pod, name: &str) -> String {
    let is_init = containers(pod).any(|(container, is_init)| is_init && container.name == name);
    let is_ephemeral = pod.spec.iter().flat_map(ephemeral).any(|container| container.name == name);
    let list = match (is_init, is_ephemeral) {
        (true, _) => "initContainers",
        (false, true) => "ephemeralContainers",
        (false, false) => "containers",
    };
    format!("spec.{list}{{{name}}}")
}
