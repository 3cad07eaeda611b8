//! What an earlier kubelet left: taken over where its pod still exists, stopped and removed where it does not.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures::future::join_all;

use super::Kubelet;
use crate::{
    pod::Existing,
    runtime::{Container, ContainerState, Error, Runtime},
    volumes,
};

/// Grace period of a container without a note of its own.
const DEFAULT_GRACE: Duration = Duration::from_secs(30);

/// Everything that the runtime has, by pod uid.
pub(super) async fn existing(runtime: &dyn Runtime) -> Result<HashMap<String, Existing>, Error> {
    let mut all: HashMap<String, Existing> = HashMap::new();
    let mut pod_of = HashMap::new();
    for sandbox in runtime.sandboxes().await? {
        pod_of.insert(sandbox.id.clone(), sandbox.config.pod_uid.clone());
        all.entry(sandbox.config.pod_uid.clone()).or_default().sandboxes.push(sandbox);
    }
    for container in runtime.containers(None).await? {
        if let Some(uid) = pod_of.get(&container.sandbox_id) {
            all.entry(uid.clone()).or_default().containers.push(container);
        }
    }
    Ok(all)
}

/// Stops and removes `orphaned`, and the directories of pods that are not among `listed`.
pub(super) async fn remove(kubelet: Arc<Kubelet>, orphaned: HashMap<String, Existing>, listed: HashSet<String>) {
    join_all(orphaned.iter().map(|(uid, existing)| stop(&kubelet, uid, existing))).await;
    let paths = kubelet.paths.clone();
    let removed = tokio::task::spawn_blocking(move || {
        for entry in std::fs::read_dir(paths.pods()).into_iter().flatten().flatten() {
            if !entry.file_name().to_str().is_some_and(|uid| listed.contains(uid)) {
                volumes::remove(&entry.path())?;
            }
        }
        for entry in std::fs::read_dir(paths.logs()).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let uid = name.to_str().and_then(|name| name.rsplit('_').next());
            if !uid.is_some_and(|uid| listed.contains(uid)) {
                std::fs::remove_dir_all(entry.path())?;
            }
        }
        Ok::<_, std::io::Error>(())
    });
    if let Ok(Err(error)) = removed.await {
        tracing::warn!(%error, "removing the directories of pods that no longer exist");
    }
}

async fn stop(kubelet: &Kubelet, uid: &str, existing: &Existing) {
    tracing::info!(uid, "stopping what is left of a pod that no longer exists");
    let running = existing.containers.iter().filter(|container| matches!(container.state, ContainerState::Running { .. }));
    join_all(running.map(|container| async move {
        if let Err(error) = kubelet.runtime.stop_container(&container.id, grace(container)).await {
            tracing::warn!(%error, id = container.id, "stopping a container without a pod");
        }
    }))
    .await;
    if let Err(error) = kubelet.network.detach(uid).await {
        tracing::warn!(%error, uid, "taking a pod that no longer exists off the network");
    }
    for sandbox in &existing.sandboxes {
        if let Err(error) = kubelet.runtime.remove_sandbox(&sandbox.id).await {
            tracing::warn!(%error, sandbox = sandbox.id, "removing a sandbox without a pod");
        }
    }
}

fn grace(container: &Container) -> Duration {
    let noted = container.config.annotations.get(crate::pod::GRACE_NOTE).and_then(|seconds| seconds.parse().ok());
    noted.map_or(DEFAULT_GRACE, Duration::from_secs)
}
