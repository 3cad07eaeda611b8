//! Giving a running container the resources that it was granted.

use k8s_openapi::api::core::v1::Container;
use windlass_planner::pod::resources;

use super::{
    container_config::{for_kernel, note, resources_note},
    operation::{Done, Scope},
};
use crate::{images::with_sources, runtime::Error};

/// Gives the run `id` of `container` what its spec says.
pub(crate) async fn resize(scope: Scope, container: Container, id: String) -> Done {
    let spec = scope.pod.spec.clone().unwrap_or_default();
    let kernel = for_kernel(resources::kernel(&spec, &container, scope.kubelet.memory_bytes));
    let noted = [(note::RESOURCES.to_owned(), resources_note(&container))].into();
    let result = match scope.kubelet.runtime.update_container(&id, &kernel, noted).await {
        Ok(()) => Ok(container.resources.unwrap_or_default()),
        Err(error @ Error::MemoryInUse { .. }) => Err(format!("attempting to set container {:?} {error}", container.name)),
        Err(error) => Err(with_sources(&error)),
    };
    Done::Resized { container: container.name, id, result }
}
