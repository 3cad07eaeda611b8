//! The ConfigMaps and Secrets that one pod refers to.

use std::{collections::HashMap, sync::Arc};

use k8s_openapi::api::core::v1::Pod;
use tokio::sync::Notify;

use crate::{
    env,
    objects::{Data, Key, Kind, Objects, Watched},
    pod::{containers, namespace},
    volumes::payload,
};

/// Watches over what a pod refers to, for as long as it lives.
#[derive(Debug)]
pub(crate) struct PodObjects {
    watched: HashMap<Key, Arc<Watched>>,
    /// Woken when one of them changes.
    pub(crate) changed: Arc<Notify>,
    pull_secrets: Vec<Key>,
}

impl PodObjects {
    /// Starts to watch everything that `pod` refers to, at once, so that it is known by the time it is needed.
    pub(crate) fn watch(objects: &Objects, pod: &Pod) -> Self {
        let namespace = namespace(pod);
        let spec = pod.spec.as_ref();
        let volumes = spec.and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
        let secrets = spec.and_then(|spec| spec.image_pull_secrets.as_deref()).unwrap_or_default();
        let pull_secrets: Vec<Key> =
            secrets.iter().map(|secret| (Kind::Secret, namespace.to_owned(), secret.name.clone())).collect();
        let mut keys: Vec<Key> = pull_secrets.clone();
        keys.extend(volumes.iter().flat_map(|volume| payload::references(namespace, volume)));
        keys.extend(containers(pod).flat_map(|(container, _)| env::references(namespace, &container)));
        let changed = Arc::new(Notify::new());
        let mut watched = HashMap::new();
        for key in keys {
            watched.entry(key.clone()).or_insert_with(|| objects.watch(&key, &changed));
        }
        Self { watched, changed, pull_secrets }
    }

    /// What exists of them now.
    ///
    /// # Errors
    /// When the API server does not say.
    pub(crate) async fn load(&self) -> Result<HashMap<Key, Arc<Data>>, String> {
        let mut found = HashMap::new();
        for (key, watched) in &self.watched {
            if let Some(data) = watched.get().await? {
                found.insert(key.clone(), data);
            }
        }
        Ok(found)
    }

    /// The pull secrets that exist, and the names of the others.
    pub(crate) async fn pull_secrets(&self) -> (Vec<Arc<Data>>, Vec<&str>) {
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for key in &self.pull_secrets {
            match self.watched.get(key) {
                Some(watched) => match watched.get().await {
                    Ok(Some(data)) => found.push(data),
                    Ok(None) | Err(_) => missing.push(key.2.as_str()),
                },
                None => missing.push(key.2.as_str()),
            }
        }
        (found, missing)
    }
}
