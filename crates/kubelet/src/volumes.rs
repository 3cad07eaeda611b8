//! The volumes of a pod: made before its containers, kept current while they run, removed after them.

pub(crate) mod atomic;
mod claim;
mod host_path;
mod ownership;
pub(crate) mod payload;
pub(crate) mod removal;
pub(crate) mod sub_path;
mod token;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs, io,
    os::unix::{
        ffi::OsStringExt,
        fs::{MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Pod, Volume};
use kube::Client;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use windlass_planner::pod::resources;

use crate::{env::Facts, paths::Paths};

/// A volume that is ready to be mounted into containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mounted {
    /// On this machine.
    pub(crate) path: PathBuf,
    /// No container may write to it.
    pub(crate) read_only: bool,
    /// Group that it asks for, for every process of the pod.
    pub(crate) gid: Option<i64>,
}

/// The volumes of a pod by name.
pub(crate) type MountedVolumes = BTreeMap<String, Mounted>;

/// Why a volume is not ready.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("MountVolume.SetUp failed for volume \"{volume}\" : {why}")]
pub(crate) struct Error {
    pub(crate) volume: String,
    pub(crate) why: String,
}

/// Makes and refreshes the volumes of one pod.
#[derive(Default)]
pub(crate) struct PodVolumes {
    tokens: tokio::sync::Mutex<token::Cache>,
}

fn fs_group(pod: &Pod) -> Option<u32> {
    u32::try_from(pod.spec.as_ref()?.security_context.as_ref()?.fs_group?).ok()
}

fn volumes(pod: &Pod) -> &[Volume] {
    pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default()
}

impl PodVolumes {
    /// Makes every volume of the pod; asked again, it finds what is there already.
    ///
    /// # Errors
    /// The first volume that could not be made, and why.
    pub(crate) async fn set_up(&self, client: &Client, paths: &Paths, facts: &Facts<'_>) -> Result<MountedVolumes, Error> {
        self.refresh(client, paths, facts).await?;
        let mut mounted = MountedVolumes::new();
        for volume in volumes(facts.pod) {
            mounted.insert(volume.name.clone(), set_up_one(client, paths, facts.pod, volume).await?);
        }
        Ok(mounted)
    }

    /// Writes what changed in the volumes whose files come from the API.
    ///
    /// # Errors
    /// The first volume that could not be written; it keeps its old files.
    pub(crate) async fn refresh(&self, client: &Client, paths: &Paths, facts: &Facts<'_>) -> Result<(), Error> {
        let now = Timestamp::now();
        let pod = facts.pod;
        if !volumes(pod).iter().any(payload::is_payload) {
            return Ok(());
        }
        let tokens = self.tokens.lock().await.get(client, pod, now).await;
        let tokens = tokens.map_err(|why| Error { volume: token_volume(pod), why })?;
        for volume in volumes(pod).iter().filter(|volume| payload::is_payload(volume)) {
            let failed = |why: String| Error { volume: volume.name.clone(), why };
            let payload = payload::build(volume, facts, &tokens).map_err(failed)?;
            let path = payload_path(paths, pod, volume);
            let group = fs_group(pod);
            let written = tokio::task::spawn_blocking(move || {
                if !path.exists() {
                    fs::create_dir_all(&path)?;
                    // As upstream's: nobody writes through it, as it is mounted read-only.
                    fs::set_permissions(&path, fs::Permissions::from_mode(0o777))?;
                }
                atomic::write(&path, &payload, group, now)
            });
            written.await.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))?;
        }
        Ok(())
    }

    /// When a token is due to be renewed.
    pub(crate) async fn refresh_at(&self) -> Option<Timestamp> {
        self.tokens.lock().await.renew_at()
    }
}

async fn set_up_one(client: &Client, paths: &Paths, pod: &Pod, volume: &Volume) -> Result<Mounted, Error> {
    let failed = |why: String| Error { volume: volume.name.clone(), why };
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    if payload::is_payload(volume) {
        return Ok(Mounted { path: payload_path(paths, pod, volume), read_only: true, gid: None });
    }
    if let Some(source) = &volume.empty_dir {
        let path = paths.volume(uid, "kubernetes.io~empty-dir", &volume.name);
        empty_dir(&path, source, fs_group(pod)).map_err(|error| failed(error.to_string()))?;
        return Ok(Mounted { path, read_only: false, gid: None });
    }
    if let Some(source) = &volume.host_path {
        let path = PathBuf::from(&source.path);
        host_path::check(&path, source.type_.as_deref().unwrap_or_default()).map_err(failed)?;
        return Ok(Mounted { path, read_only: false, gid: None });
    }
    let directory =
        claim::resolve(client, pod, volume).await.and_then(|found| found.ok_or("no volume plugin matched".to_owned()));
    let directory = directory.map_err(failed)?;
    let read_only = volume.persistent_volume_claim.as_ref().and_then(|source| source.read_only).unwrap_or(false);
    // From here on it is known by its own name, as upstream.
    match set_up_claimed(&directory, paths, pod, read_only).await {
        Ok(()) => Ok(Mounted { path: directory.path, read_only, gid: directory.gid }),
        Err(why) => Err(Error { volume: directory.volume, why }),
    }
}

async fn set_up_claimed(directory: &claim::Directory, paths: &Paths, pod: &Pod, read_only: bool) -> Result<(), String> {
    directory.take(paths, pod.metadata.uid.as_deref().unwrap_or_default())?;
    directory.make()?;
    host_path::check(&directory.path, &directory.host_path_type)?;
    match fs_group(pod).filter(|_| directory.takes_group && !read_only) {
        Some(group) => give(&directory.path, group, pod).await,
        None => Ok(()),
    }
}

async fn give(path: &Path, group: u32, pod: &Pod) -> Result<(), String> {
    let context = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
    let policy = context.and_then(|context| context.fs_group_change_policy.as_deref());
    if policy == Some("OnRootMismatch") && ownership::root_matches(path, group) {
        return Ok(());
    }
    let path = path.to_owned();
    let given = tokio::task::spawn_blocking(move || ownership::give_to_group(&path, group, true)).await;
    given.map_err(|error| error.to_string())?.map_err(|error| format!("applyFSGroup failed: {error}"))
}

fn token_volume(pod: &Pod) -> String {
    let has_token = |volume: &&Volume| {
        volume
            .projected
            .iter()
            .flat_map(|projected| projected.sources.iter().flatten())
            .any(|source| source.service_account_token.is_some())
    };
    volumes(pod).iter().find(has_token).map(|volume| volume.name.clone()).unwrap_or_default()
}

fn payload_path(paths: &Paths, pod: &Pod, volume: &Volume) -> PathBuf {
    let plugin = if volume.config_map.is_some() {
        "kubernetes.io~configmap"
    } else if volume.secret.is_some() {
        "kubernetes.io~secret"
    } else if volume.downward_api.is_some() {
        "kubernetes.io~downward-api"
    } else {
        "kubernetes.io~projected"
    };
    paths.volume(pod.metadata.uid.as_deref().unwrap_or_default(), plugin, &volume.name)
}

fn empty_dir(path: &Path, source: &EmptyDirVolumeSource, group: Option<u32>) -> io::Result<()> {
    let in_memory = source.medium.as_deref() == Some("Memory");
    let exists = path.exists();
    if exists && (!in_memory || is_mount_point(path)?) {
        return Ok(());
    }
    fs::create_dir_all(path)?;
    if in_memory {
        let limit = source.size_limit.as_ref().and_then(resources::units).filter(|bytes| *bytes > 0);
        let options = limit.map_or_else(|| "mode=0777".to_owned(), |bytes| format!("mode=0777,size={bytes}"));
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("tmpfs"), path, Some("tmpfs"), flags, Some(options.as_str()))?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o777))?;
    group.map_or(Ok(()), |group| ownership::give_to_group(path, group, true))
}

fn is_mount_point(path: &Path) -> io::Result<bool> {
    let parent = path.parent().unwrap_or(path);
    Ok(fs::metadata(path)?.dev() != fs::metadata(parent)?.dev())
}

/// Unmounts what is mounted below a pod's directory: `emptyDir`s in memory, and what containers mounted into volumes that they share
/// with the machine.
pub(crate) fn unmount(pod_directory: &Path) {
    let Ok(directory) = fs::canonicalize(pod_directory) else { return };
    // The last mounted lie on top.
    for point in mounted_below(&directory).iter().rev() {
        let _ = umount2(point, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW);
    }
}

/// Mount points below a directory, in the order in which they were mounted.
fn mounted_below(directory: &Path) -> Vec<PathBuf> {
    let mounts = fs::read("/proc/thread-self/mountinfo").unwrap_or_default();
    let point = |line: &[u8]| line.split(|byte| *byte == b' ').nth(4).map(unescape);
    mounts
        .split(|byte| *byte == b'\n')
        .filter_map(point)
        .filter(|path| path != directory && path.starts_with(directory))
        .collect()
}

/// A path of mountinfo, which writes blanks and backslashes as three octal digits.
fn unescape(text: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let octal = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()).filter(|_| *first == b'\\') {
            Some(byte) => {
                path.push(byte);
                rest = &after[3..];
            }
            None => {
                path.push(*first);
                rest = after;
            }
        }
    }
    PathBuf::from(OsString::from_vec(path))
}

/// Removes a pod's directory with all its volumes; what lies behind hostPath and claims is never touched.
///
/// # Errors
/// When something below cannot be removed.
pub(crate) fn remove(pod_directory: &Path) -> io::Result<()> {
    unmount(pod_directory);
    if let Some(point) = fs::canonicalize(pod_directory).ok().and_then(|directory| mounted_below(&directory).pop()) {
        // What is behind it is not the pod's.
        return Err(io::Error::other(format!("{} is still mounted", point.display())));
    }
    match fs::remove_dir_all(pod_directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use nix::sched::{CloneFlags, unshare};

    use super::*;

    #[test]
    fn blanks_in_mount_points() {
        assert_eq!(unescape(br"/a\040b\134c\0"), Path::new(r"/a b\c\0"));
    }

    /// In a thread whose mounts are its own (needs root).
    #[test]
    fn what_a_container_mounted_is_let_go_and_stays_as_it_is() {
        let test = || {
            let none = None::<&str>;
            unshare(CloneFlags::CLONE_NEWNS).unwrap();
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
            let directory = tempfile::tempdir().unwrap();
            let (pod, outside) = (directory.path().join("a pod"), directory.path().join("outside"));
            let below = pod.join("volumes/kubernetes.io~empty-dir/v/below");
            fs::create_dir_all(&below).unwrap();
            fs::create_dir_all(&outside).unwrap();
            fs::write(outside.join("kept"), "").unwrap();
            mount(Some(&outside), &below, none, MsFlags::MS_BIND, none).unwrap();
            assert!(below.join("kept").exists());
            remove(&pod).unwrap();
            assert!(!pod.exists() && outside.join("kept").exists());
        };
        std::thread::spawn(test).join().unwrap();
    }
}
