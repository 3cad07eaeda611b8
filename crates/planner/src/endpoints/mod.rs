//! Which pods stand behind a Service, at which ports, and how EndpointSlices and Endpoints say so.

mod address;
mod mirror;
mod object;
mod slices;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use k8s_openapi::api::{
    core::v1::{Pod, Service},
    discovery::v1::EndpointSlice,
};
use windlass_api::selector::Selector;

pub use self::{
    address::{Backend, Port, backends},
    mirror::{MIRRORED_BY, plan as plan_mirrors},
    object::{EndpointsPlan, plan as plan_endpoints},
    slices::{Action, MAX_ENDPOINTS_A_SLICE, Reason, SlicesPlan, Step, plan as plan_slices},
};
use crate::{owner, replica};

/// `endpointslice.kubernetes.io/managed-by` on what is ours; slices of others are left alone.
pub const MANAGED_BY: &str = "endpointslice-controller.k8s.io";
/// Label that says who manages an EndpointSlice.
pub const LABEL_MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// Label that says who manages an Endpoints object, and its value on ours.
pub const LABEL_ENDPOINTS_MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
/// Value of [`LABEL_ENDPOINTS_MANAGED_BY`] on what is ours.
pub const ENDPOINTS_MANAGED_BY: &str = "endpoint-controller";
/// Label of what belongs to a Service without a ClusterIP.
pub const LABEL_HEADLESS: &str = "service.kubernetes.io/headless";
/// When the change came about that the last write tells of.
pub const ANNOTATION_TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// Everything the decision about EndpointSlices depends on.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot<'a> {
    /// The Service.
    pub service: &'a Service,
    /// Pods of its namespace; others than those it selects may be among them.
    pub pods: &'a [Arc<Pod>],
    /// EndpointSlices that name the Service.
    pub slices: &'a [Arc<EndpointSlice>],
}

/// The selector of a Service whose endpoints are made from pods; `None` if somebody else makes them.
pub fn selector(service: &Service) -> Option<Selector> {
    let spec = service.spec.as_ref()?;
    if spec.type_.as_deref() == Some("ExternalName") {
        return None;
    }
    let labels = spec.selector.as_ref().filter(|labels| !labels.is_empty())?;
    Some(Selector::equal_to(labels))
}

/// The parts of a pod that endpoints show; as long as none changes there is nothing to do.
pub fn shown(pod: &Pod) -> impl PartialEq + '_ {
    let status = pod.status.as_ref();
    (
        pod.metadata.labels.as_ref(),
        pod.metadata.deletion_timestamp.is_some(),
        replica::is_finished(pod),
        replica::is_ready(pod),
        replica::node_name(pod),
        status.and_then(|status| status.pod_ips.as_ref()),
        status.and_then(|status| status.pod_ip.as_ref()),
        pod.spec.as_ref().and_then(|spec| spec.hostname.as_ref()),
    )
}

fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None")
}

fn publishes_not_ready(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses).unwrap_or(false)
}

/// Pods that the Service selects and that have not ended.
fn selected<'a>(service: &'a Service, pods: &'a [Arc<Pod>]) -> impl Iterator<Item = &'a Arc<Pod>> {
    let selector = selector(service).unwrap_or_else(Selector::nothing);
    let namespace = owner::namespace(&service.metadata);
    pods.iter().filter(move |pod| {
        owner::namespace(&pod.metadata) == namespace
            && !replica::is_finished(pod)
            && selector.matches(&pod.metadata.labels.as_ref())
    })
}
