//! What an earlier kubelet left: taken over where its pod still exists, stopped and removed where it does not.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use futures::future::join_all;

use super::Kubelet;
use crate::{
    paths::Paths,
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

/// Directories of pods, by uid.
pub(super) type Directories = Vec<(String, PathBuf)>;

/// Directories that are here before any pod of now has made one.
pub(super) fn directories(paths: &Paths) -> Directories {
    let entries = |path| std::fs::read_dir(path).into_iter().flatten().flatten();
    let name = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let volumes = entries(paths.pods()).map(|entry| (name(&entry), entry.path()));
    // `<namespace>_<name>_<uid>`
    let logs = entries(paths.logs()).map(|entry| (name(&entry).rsplit('_').next().unwrap_or_default().to_owned(), entry.path()));
    volumes.chain(logs).collect()
}

/// Stops and removes `orphaned`, and those of `directories` whose pods are not among `listed`.
pub(super) async fn remove(
    kubelet: Arc<Kubelet>,
    orphaned: HashMap<String, Existing>,
    mut directories: Directories,
    listed: HashSet<String>,
) {
    join_all(orphaned.iter().map(|(uid, existing)| stop(&kubelet, uid, existing))).await;
    directories.retain(|(uid, _)| !listed.contains(uid));
    for (uid, path) in directories {
        let removed = tokio::task::spawn_blocking(move || volumes::remove(&path)).await;
        if let Ok(Err(error)) = removed {
            tracing::warn!(%error, uid, "removing a directory of a pod that no longer exists");
        }
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
