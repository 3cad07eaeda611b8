//! What a worker has under way: each a task of its own, its result handed back to the worker.

use std::{net::IpAddr, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{Pod, ResourceRequirements};
use tokio_util::sync::CancellationToken;
use windlass_planner::pod::{Failure, Run, RunState};

use super::objects::PodObjects;
use crate::{
    kubelet::Kubelet,
    probes::Target,
    runtime::Sandbox,
    volumes::{self, MountedVolumes, PodVolumes},
};

/// What an operation works with: the pod as it was when it began, and what its worker shares with it.
#[derive(Clone)]
pub(crate) struct Scope {
    pub(crate) kubelet: Arc<Kubelet>,
    pub(crate) pod: Arc<Pod>,
    pub(crate) objects: Arc<PodObjects>,
    pub(crate) volumes: Arc<PodVolumes>,
    /// The pod is to stop: give up what takes long.
    pub(crate) cancel: CancellationToken,
}

impl Scope {
    /// How probes and hooks reach the pod.
    pub(crate) fn target(&self, address: Option<IpAddr>) -> Target {
        Target { runtime: Arc::clone(&self.kubelet.runtime), network: Arc::clone(&self.kubelet.network), address }
    }
}

/// The result of an operation.
pub(crate) enum Done {
    /// Namespaces and network, and volumes; each may have failed alone.
    SetUp { sandbox: Result<(Sandbox, Vec<IpAddr>), String>, volumes: Result<MountedVolumes, volumes::Error> },
    /// A container was started, or not.
    Started { container: String, result: Result<Started, Failed> },
    /// A container was looked at after it ended or was killed.
    Inspected { container: String, id: String, state: RunState, was_killed: bool },
    /// A container was killed; its end is told separately.
    Killed { container: String, id: String },
    /// A container has other resources now, or could not be given them.
    Resized { container: String, id: String, result: Result<ResourceRequirements, String> },
    /// Volumes were brought up to date, or not.
    Refreshed(Result<(), volumes::Error>),
    /// Namespaces, network and volumes are gone.
    Released,
}

/// A container that runs (or ran, and ended at once).
#[derive(Debug, Clone)]
pub(crate) struct Started {
    pub(crate) run: Run,
    /// Why its postStart hook failed.
    pub(crate) hook_failure: Option<String>,
}

/// A container that did not start.
#[derive(Debug, Clone)]
pub(crate) struct Failed {
    pub(crate) failure: Failure,
    /// It was made, but its process could not be run.
    pub(crate) run: Option<Run>,
}

/// How long a step that touches the network of another program may take before it is given up.
pub(crate) const STEP_LIMIT: Duration = Duration::from_secs(120);
