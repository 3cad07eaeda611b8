//! `persistentVolumeClaim`: the directory behind the volume that a claim is bound to.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, Volume, VolumeDevice, VolumeMount};
use kube::{Api, Client};
use windlass_planner::{owner, volume};

use crate::paths::Paths;

/// Annotation of a volume: a group that every process of its pods is in.
const GID: &str = "pv.beta.kubernetes.io/gid";
/// Among the volumes of a pod: the marks of those that it has for itself alone.
const ALONE: &str = "windlass.dev~alone";
const IN_USE: &str = "volume uses the ReadWriteOncePod access mode and is already in use by another pod";

/// One pod at a time looks who has a volume, and takes it.
static TAKING: Mutex<()> = Mutex::new(());

/// What a claim leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Directory {
    /// Name of the PersistentVolume.
    pub(crate) volume: String,
    pub(crate) path: PathBuf,
    /// `type` of a hostPath volume, checked as there.
    pub(crate) host_path_type: String,
    /// Whether `fsGroup` applies: not to hostPath, as upstream, but for what was made here.
    pub(crate) takes_group: bool,
    /// Group that the volume asks for.
    pub(crate) gid: Option<i64>,
    /// Whether it was made for its claim alone, and is made by the first pod that comes.
    is_ours: bool,
    /// `ReadWriteOncePod` and nothing else.
    is_for_one_pod: bool,
}

impl Directory {
    /// Takes a volume that only one pod may use at a time. It is given back with the directory of the pod, so that a pod which
    /// outlives its kubelet keeps it.
    ///
    /// # Errors
    /// When another pod on this machine has it.
    pub(crate) fn take(&self, paths: &Paths, pod_uid: &str) -> Result<(), String> {
        if !self.is_for_one_pod {
            return Ok(());
        }
        let _turn = TAKING.lock().unwrap_or_else(PoisonError::into_inner);
        let mark = |uid: &str| paths.volume(uid, ALONE, &self.volume);
        let others = fs::read_dir(paths.pods()).into_iter().flatten().flatten();
        let mut others = others.map(|entry| entry.file_name()).filter(|uid| uid != pod_uid);
        if others.any(|uid| uid.to_str().is_some_and(|uid| mark(uid).exists())) {
            return Err(IN_USE.to_owned());
        }
        fs::create_dir_all(mark(pod_uid)).map_err(|error: io::Error| error.to_string())
    }

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
/// When the claim or its volume does not exist, is another pod's own, is not bound, is used as something else than it is, or is of
/// a type that this machine has no driver for.
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
    let found = volumes.get_opt(&name).await.map_err(|error| error.to_string())?;
    let found = found.ok_or_else(|| format!("persistentvolume \"{name}\" not found"))?;
    let mode = found.spec.as_ref().and_then(|spec| spec.volume_mode.as_deref()).unwrap_or("Filesystem");
    check_use(pod, &volume.name, mode)?;
    directory(found).map(Some)
}

/// The directory that a volume is.
fn directory(found: PersistentVolume) -> Result<Directory, String> {
    let is_ours = volume::is_ours(&found);
    let gid = owner::annotation(&found.metadata, GID).and_then(|text| text.parse().ok());
    let name = found.metadata.name.unwrap_or_default();
    let spec = found.spec.unwrap_or_default();
    if spec.volume_mode.as_deref() == Some("Block") {
        return Err(format!("no block volume plugin matched persistentvolume \"{name}\": file systems alone are mounted"));
    }
    let (path, host_path_type, takes_group) = match (spec.host_path, spec.local) {
        (Some(source), _) => (source.path, source.type_.unwrap_or_default(), is_ours),
        (None, Some(source)) => (source.path, "Directory".to_owned(), true),
        (None, None) => {
            let why = "only hostPath and local volumes are mounted";
            return Err(format!("no volume plugin matched persistentvolume \"{name}\": {why}"));
        }
    };
    let is_for_one_pod = spec.access_modes.is_some_and(|modes| modes == ["ReadWriteOncePod"]);
    Ok(Directory { volume: name, path: path.into(), host_path_type, takes_group, gid, is_ours, is_for_one_pod })
}

/// A file system is mounted, a block device is handed over: no container may take the one for the other.
fn check_use(pod: &Pod, name: &str, mode: &str) -> Result<(), String> {
    let spec = pod.spec.as_ref();
    let containers = spec.into_iter().flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers));
    let later = spec.into_iter().flat_map(|spec| spec.ephemeral_containers.iter().flatten());
    let of_containers = containers.map(|container| (&container.volume_mounts, &container.volume_devices));
    let mut uses = of_containers.chain(later.map(|container| (&container.volume_mounts, &container.volume_devices)));
    let mounts = |mounts: &Option<Vec<VolumeMount>>| mounts.iter().flatten().any(|mount| mount.name == name);
    let maps = |devices: &Option<Vec<VolumeDevice>>| devices.iter().flatten().any(|device| device.name == name);
    let wrong = match mode {
        "Block" => uses.any(|(mounted, _)| mounts(mounted)).then_some("volumeMounts"),
        _ => uses.any(|(_, mapped)| maps(mapped)).then_some("volumeDevices"),
    };
    match wrong {
        Some(list) => Err(format!("volume {name} has volumeMode {mode}, but is specified in {list}")),
        None => Ok(()),
    }
}
