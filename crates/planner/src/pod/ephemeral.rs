//! Ephemeral containers: put into a pod to look at it. Each is started once, and nothing waits for it.

use k8s_openapi::api::core::v1::{Container, EphemeralContainer, PodSpec};

use super::observed::Observed;

/// The ephemeral containers of a pod as the containers that they are.
pub fn ephemeral(spec: &PodSpec) -> impl DoubleEndedIterator<Item = Container> {
    spec.ephemeral_containers.iter().flatten().map(as_container)
}

/// Name of the container whose processes an ephemeral container sees.
pub fn target<'a>(spec: &'a PodSpec, name: &str) -> Option<&'a str> {
    let container = spec.ephemeral_containers.iter().flatten().find(|container| container.name == name)?;
    container.target_container_name.as_deref().filter(|target| !target.is_empty())
}

/// Those that run and are not being worked on.
pub(super) fn running(spec: &PodSpec, observed: &Observed) -> impl Iterator<Item = String> {
    let runs = |container: &Container| {
        observed.containers.get(&container.name).is_some_and(|known| !known.busy && known.running().is_some())
    };
    ephemeral(spec).filter(runs).map(|container| container.name)
}

/// Without what the API refuses for them: probes, hooks, ports and resources.
fn as_container(container: &EphemeralContainer) -> Container {
    let EphemeralContainer { name, image, command, args, working_dir, env, env_from, .. } = container.clone();
    let EphemeralContainer { volume_mounts, volume_devices, security_context, image_pull_policy, .. } = container.clone();
    Container {
        name,
        image,
        command,
        args,
        working_dir,
        env,
        env_from,
        volume_mounts,
        volume_devices,
        security_context,
        image_pull_policy,
        stdin: container.stdin,
        stdin_once: container.stdin_once,
        tty: container.tty,
        termination_message_path: container.termination_message_path.clone(),
        termination_message_policy: container.termination_message_policy.clone(),
        ..Container::default()
    }
}
