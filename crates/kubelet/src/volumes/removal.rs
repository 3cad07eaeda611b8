//! Directories of deleted volumes: the node removes each, and then lets the volume go.

use std::{fs, io, path::PathBuf, time::Duration};

use futures::StreamExt;
use http::Method;
use k8s_openapi::api::core::v1::PersistentVolume;
use kube::{
    Api, Client, ResourceExt,
    runtime::{WatchStreamExt, watcher},
};
use serde_json::json;
use windlass_planner::volume;

use crate::{api, pauses::Pauses};

/// A directory that cannot be removed is tried again after this long: somebody may still hold it.
const AGAIN: Duration = Duration::from_secs(10);

/// Follows the volumes for as long as it is polled. `is_here` says of a host name whether its directories are here; without a
/// `directory` below which they are, nothing is on any disk.
pub(crate) async fn run(client: Client, directory: Option<PathBuf>, is_here: impl Fn(&str) -> bool) {
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    let mut events = std::pin::pin!(watcher(volumes, watcher::Config::default()).backoff(Pauses::default()));
    let mut stubborn: Vec<PersistentVolume> = Vec::new();
    loop {
        let due = tokio::time::sleep(AGAIN);
        let waiting = tokio::select! {
            biased;
            event = events.next() => match event {
                Some(Ok(watcher::Event::Apply(volume) | watcher::Event::InitApply(volume))) => vec![volume],
                Some(_) => continue,
                None => return,
            },
            () = due, if !stubborn.is_empty() => std::mem::take(&mut stubborn),
        };
        for volume in waiting {
            let here = volume::host_of(&volume).is_none_or(&is_here);
            if !here || !volume::is_ours(&volume) || !volume::is_to_be_removed(&volume) {
                continue;
            }
            if let Err(error) = remove(&client, directory.as_ref(), &volume).await {
                tracing::warn!(volume = volume.name_any(), error, "the directory of a deleted volume is not removed yet");
                stubborn.push(volume);
            }
        }
    }
}

async fn remove(client: &Client, directory: Option<&PathBuf>, volume: &PersistentVolume) -> Result<(), String> {
    if let Some(directory) = directory {
        let path = directory.join(volume.name_any());
        let named = volume.spec.as_ref().and_then(|spec| spec.host_path.as_ref());
        // Only what was made here for this very volume: an annotation is quickly written, and a directory quickly lost.
        if named.is_some_and(|source| source.path == path.to_string_lossy()) {
            let removed = tokio::task::spawn_blocking(move || match fs::remove_dir_all(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.to_string()),
                _ => Ok(()),
            });
            removed.await.map_err(|error| error.to_string())??;
        }
    }
    let finalizers = volume.finalizers().iter().filter(|finalizer| *finalizer != volume::DIRECTORY_FINALIZER);
    let change = json!({ "metadata": {
        "uid": volume.uid(), "resourceVersion": volume.resource_version(), "finalizers": finalizers.collect::<Vec<_>>(),
    } });
    let path = format!("/api/v1/persistentvolumes/{}", volume.name_any());
    match api::send(client, Method::PATCH, &path, api::MERGE, &change).await {
        // Somebody else has changed it: the watch tells of that, and it is done then.
        Err(error) if !error.is_not_found() && !error.is_conflict() => Err(error.to_string()),
        _ => Ok(()),
    }
}
