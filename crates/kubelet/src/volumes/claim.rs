//! `persistentVolumeClaim`: the directory behind the volume that a claim is bound to.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, Volume};
use kube::{Api, Client};
use windlass_planner::volume;

/// What a claim leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Directory {
    pub(crate) path: PathBuf,
    /// `type` of a hostPath volume, checked as there.
    pub(crate) host_path_type: String,
    /// Whether `fsGroup` applies: not to hostPath, as upstream, but for what was made here.
    pub(crate) takes_group: bool,
    /// Whether it was made for its claim alone, and is made by the first pod that comes.
    is_ours: bool,
}

impl Directory {
    /// Makes a directory of ours, which every user may write to: nobody else's pods see it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn make(&self) -> Result<(), String> {
        if !self.is_ours || self.path.exists() {
            return Ok(());
        }
        let made =
            fs::create_dir_all(&self.path).and_then(|()| fs::set_permissions(&self.path, fs::Permissions::from_mode(0o777)));
        made.map_err(|error| format!("cannot make {}: {error}", self.path.display()))
    }
}

/// Finds the directory behind a volume of a pod; `None` if it is not made from a claim.
///
/// # Errors
/// When the claim or its volume does not exist, is another pod's own, is not bound, or is of a type that this machine has no
/// driver for.
pub(crate) async fn resolve(client: &Client, pod: &Pod, volume: &Volume) -> Result<Option<Directory>, String> {
    let Some((claim, own)) = volume::claim_of(pod, volume) else { return Ok(None) };
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
    let object = claims.get_opt(&claim).await.map_err(|error| error.to_string())?;
    let object = object.ok_or_else(|| format!("persistentvolumeclaim \"{claim}\" not found"))?;
    if own {
        volume::belongs_to(&object.metadata, &pod.metadata)?;
    }
    let bound = object.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound");
    let name = object.spec.and_then(|spec| spec.volume_name).filter(|_| bound);
    let name = name.ok_or_else(|| format!("PVC {namespace}/{claim} is not bound"))?;
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    let volume = volumes.get_opt(&name).await.map_err(|error| error.to_string())?;
    let volume = volume.ok_or_else(|| format!("persistentvolume \"{name}\" not found"))?;
    let is_ours = volume::is_ours(&volume);
    let spec = volume.spec.unwrap_or_default();
    if let Some(source) = spec.host_path {
        let host_path_type = source.type_.unwrap_or_default();
        return Ok(Some(Directory { path: source.path.into(), host_path_type, takes_group: is_ours, is_ours }));
    }
    if let Some(source) = spec.local {
        let host_path_type = "Directory".to_owned();
        return Ok(Some(Directory { path: source.path.into(), host_path_type, takes_group: true, is_ours: false }));
    }
    Err(format!("no volume plugin matched persistentvolume \"{name}\": only hostPath and local volumes are mounted"))
}
