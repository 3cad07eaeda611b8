//! The pod, and the container in it, that a client wants to talk to.

use std::{path::PathBuf, sync::Arc};

use axum::http::StatusCode;
use k8s_openapi::api::core::v1::PodStatus;

use crate::{kubelet::Kubelet, pod};

/// Why there is nobody to talk to, in upstream's words.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("pod does not exist")]
    NoPod,
    #[error("container not found ({0:?})")]
    NoContainer(String),
    #[error("pod is not running")]
    NotRunning,
}

impl Error {
    pub(super) fn code(&self) -> StatusCode {
        match self {
            Self::NoPod => StatusCode::NOT_FOUND,
            Self::NoContainer(_) | Self::NotRunning => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// A pod of this machine.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) uid: String,
    pub(super) status: Arc<PodStatus>,
}

/// Where a pod's connections are made.
#[derive(Debug)]
pub(super) struct Place {
    /// Id of its sandbox.
    pub(super) sandbox: String,
    /// `None`: the machine's own namespace.
    pub(super) netns: Option<PathBuf>,
}

impl Target {
    pub(super) fn find(kubelet: &Kubelet, namespace: &str, name: &str) -> Result<Self, Error> {
        let handles = kubelet.handles();
        let found = handles.values().find_map(|handle| {
            let pod = handle.pod.borrow();
            (pod::name(&pod) == name && pod::namespace(&pod) == namespace)
                .then(|| Self { uid: pod::uid(&pod).to_owned(), status: Arc::clone(&handle.status.borrow()) })
        });
        found.ok_or(Error::NoPod)
    }

    /// Id of the container of that name that runs.
    pub(super) fn container(&self, name: &str) -> Result<String, Error> {
        let mut running = pod::statuses(&self.status)
            .filter(|container| container.name == name && container.state.as_ref().is_some_and(|state| state.running.is_some()));
        let id = running.next().and_then(|container| container.container_id.as_deref());
        let id = id.map(|id| id.split_once("://").map_or(id, |(_, id)| id).to_owned());
        id.ok_or_else(|| Error::NoContainer(name.to_owned()))
    }

    pub(super) async fn place(&self, kubelet: &Kubelet) -> Result<Place, Error> {
        let sandboxes = kubelet.runtime.sandboxes().await.map_err(|_| Error::NotRunning)?;
        let newest = sandboxes.into_iter().filter(|sandbox| sandbox.config.pod_uid == self.uid && sandbox.ready);
        let newest = newest.max_by_key(|sandbox| sandbox.config.attempt).ok_or(Error::NotRunning)?;
        Ok(Place { sandbox: newest.id, netns: newest.netns })
    }
}
