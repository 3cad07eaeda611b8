//! What the runtime is told of one container.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs, io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodSecurityContext, SecurityContext, Service, VolumeMount};
use sha2::{Digest, Sha256};
use windlass_planner::pod::{
    backoff::Backoff,
    expand::{expand, expand_all},
    resources,
    restart::pod_reference,
    stop,
};

use super::{operation::Scope, start::Target};
use crate::{
    env::{self, Facts},
    files,
    objects::{Data, Key},
    paths::container_log,
    pod::{name, namespace, uid},
    runtime::{ContainerConfig, Image, Mount, Propagation, Resources, Seccomp, Security},
    volumes::{MountedVolumes, sub_path},
};

/// Keys of the notes that the kubelet keeps with a container.
pub(crate) mod note {
    pub(crate) const SPEC_HASH: &str = "windlass.dev/spec-hash";
    /// What it was granted, as its spec had it.
    pub(crate) const RESOURCES: &str = "windlass.dev/resources";
    pub(crate) const IMAGE: &str = "windlass.dev/image";
    pub(crate) const IMAGE_ID: &str = "windlass.dev/image-id";
    pub(crate) const BACKOFF_SECONDS: &str = "windlass.dev/backoff-seconds";
    pub(crate) const BACKOFF_RAISED_AT: &str = "windlass.dev/backoff-raised-at";
    pub(crate) const GRACE_SECONDS: &str = "windlass.dev/grace-seconds";
}

/// Why a container cannot be configured; shown as `CreateContainerConfigError`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Env(#[from] env::Error),
    #[error("{0}")]
    NonRoot(String),
    #[error("missing value for {0}")]
    NoValue(String),
    #[error("error SubPath `{0}` must not be an absolute path")]
    AbsoluteSubPath(String),
    #[error("unable to provision SubPath `{0}`: must not contain '..'")]
    SubPathBackwards(String),
    // As upstream's, these do not say why: that would tell a user of the host's files.
    #[error("failed to create subPath directory for volumeMount \"{mount}\" of container \"{container}\"")]
    SubPathNotMade { mount: String, container: String },
    #[error("failed to prepare subPath for volumeMount \"{mount}\" of container \"{container}\"")]
    SubPathNotFound { mount: String, container: String },
    #[error("unable to find target container {0:?}")]
    NoTarget(String),
    #[error("couldn't find volume \"{0}\"")]
    NoVolume(String),
    #[error("couldn't write {path}: {source}", path = path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// What a configuration is made from, besides the scope.
pub(crate) struct Parts<'a> {
    pub(crate) container: &'a Container,
    pub(crate) attempt: u32,
    pub(crate) image: &'a Image,
    pub(crate) pod_ips: &'a [std::net::IpAddr],
    pub(crate) mounted: &'a MountedVolumes,
    pub(crate) objects: &'a HashMap<Key, Arc<Data>>,
    pub(crate) services: &'a [Arc<Service>],
    pub(crate) backoff: Backoff,
    pub(crate) target: Option<&'a Target>,
}

/// Hash of the parts of the spec that need a new container when they change; all others are immutable in a running pod.
pub(crate) fn spec_hash(container: &Container) -> String {
    let digest = Sha256::digest(format!("{}\n{}", container.name, container.image.as_deref().unwrap_or_default()));
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Image name and id as the status shows them.
pub(crate) fn image_names(image: &Image, asked: &str) -> (String, String) {
    let is_asked = |tag: &&String| {
        tag.as_str() == asked || tag.ends_with(&format!("/{asked}")) || tag.ends_with(&format!("/{asked}:latest"))
    };
    let tag = image.tags.iter().find(is_asked).or(image.tags.first());
    let id = image.digests.first().unwrap_or(&image.id);
    (tag.cloned().unwrap_or_else(|| asked.to_owned()), id.clone())
}

/// Puts the configuration together and makes the files that it mounts.
///
/// # Errors
/// What is missing or not allowed.
pub(crate) fn build(scope: &Scope, parts: &Parts<'_>) -> Result<ContainerConfig, Error> {
    let (pod, container) = (&*scope.pod, parts.container);
    let kubelet = &scope.kubelet;
    check_non_root(pod, container, parts.image)?;
    let host_ips = kubelet.host_ips();
    let facts = Facts {
        pod,
        pod_ips: parts.pod_ips,
        host_ips: &host_ips,
        node_name: &kubelet.options.node_name,
        allocatable: &kubelet.allocatable,
        objects: parts.objects,
        services: parts.services,
    };
    let env = facts.environment(container, parts.mounted)?;
    let lookup = |name: &str| env.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let expanded = |list: &Option<Vec<String>>| list.iter().flatten().map(|text| expand(text, lookup)).collect();
    let kernel = resources::kernel(pod.spec.as_ref().unwrap_or(&Default::default()), container, kubelet.memory_bytes);
    let pod_logs = kubelet.paths.pod_logs(namespace(pod), name(pod), uid(pod));
    Ok(ContainerConfig {
        name: container.name.clone(),
        attempt: parts.attempt,
        image_id: parts.image.id.clone(),
        command: expanded(&container.command),
        args: expanded(&container.args),
        working_dir: container.working_dir.clone().filter(|path| !path.is_empty()),
        mounts: mounts(scope, parts, lookup)?,
        resources: for_kernel(kernel),
        security: security(pod, container, parts.mounted, &kubelet.paths.seccomp()),
        log_path: container_log(&pod_logs, &container.name, parts.attempt),
        stdin: container.stdin.unwrap_or(false),
        stdin_once: container.stdin_once.unwrap_or(false),
        tty: container.tty.unwrap_or(false),
        pid_of: parts.target.map(|target| target.id.clone().ok_or_else(|| Error::NoTarget(target.name.clone()))).transpose()?,
        annotations: notes(pod, container, parts),
        env,
    })
}

/// What the runtime is to tell the kernel.
pub(super) fn for_kernel(kernel: resources::Kernel) -> Resources {
    Resources {
        cpu_shares: u64::try_from(kernel.cpu_shares).unwrap_or(0),
        cpu_quota: kernel.cpu_quota,
        cpu_period: u64::try_from(kernel.cpu_period).unwrap_or(0),
        memory_limit: kernel.memory_limit,
        oom_score_adj: i32::try_from(kernel.oom_score_adj).unwrap_or(0),
    }
}

/// The resources of a container as they are noted with it.
pub(super) fn resources_note(container: &Container) -> String {
    let resources = container.resources.clone().unwrap_or_default();
    serde_json::to_string(&resources).expect("a list of resources has no keys but strings")
}

fn notes(pod: &Pod, container: &Container, parts: &Parts<'_>) -> BTreeMap<String, String> {
    let (image, image_id) = image_names(parts.image, container.image.as_deref().unwrap_or_default());
    let raised_at = parts.backoff.raised_at.unwrap_or(Timestamp::UNIX_EPOCH);
    [
        (note::SPEC_HASH, spec_hash(container)),
        (note::RESOURCES, resources_note(container)),
        (note::IMAGE, image),
        (note::IMAGE_ID, image_id),
        (note::BACKOFF_SECONDS, parts.backoff.seconds.to_string()),
        (note::BACKOFF_RAISED_AT, raised_at.as_second().to_string()),
        (note::GRACE_SECONDS, stop::grace_seconds(pod).to_string()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

fn mounts<'a>(scope: &Scope, parts: &Parts<'_>, lookup: impl Fn(&str) -> Option<&'a str> + Copy) -> Result<Vec<Mount>, Error> {
    let container = parts.container;
    let mut mounts = Vec::new();
    for mount in container.volume_mounts.iter().flatten() {
        let volume = parts.mounted.get(&mount.name).ok_or_else(|| Error::NoVolume(mount.name.clone()))?;
        let host_path = match sub_path(mount, lookup)? {
            Some(below) => below_volume(container, mount, &volume.path, &below)?,
            None => volume.path.clone(),
        };
        let read_only = mount.read_only.unwrap_or(false) || volume.read_only;
        let propagation = match mount.mount_propagation.as_deref() {
            Some("HostToContainer") => Propagation::HostToContainer,
            Some("Bidirectional") => Propagation::Bidirectional,
            _ => Propagation::Private,
        };
        mounts.push(Mount { host_path, container_path: mount.mount_path.clone(), read_only, propagation });
    }
    let read_only_root =
        container.security_context.as_ref().and_then(|context| context.read_only_root_filesystem).unwrap_or(false);
    let mut add_file = |path: PathBuf, container_path: &str, read_only: bool| {
        // What the user mounts there goes first.
        if !mounts.iter().any(|mount| mount.container_path == container_path) {
            mounts.push(Mount {
                host_path: path,
                container_path: container_path.to_owned(),
                read_only,
                propagation: Propagation::Private,
            });
        }
    };
    let directory = scope.kubelet.paths.pod(uid(&scope.pod));
    for (file, container_path, text) in etc_files(scope, parts.pod_ips) {
        let path = directory.join(file);
        write_if_new(&path, &text).map_err(|source| Error::File { path: path.clone(), source })?;
        add_file(path, container_path, read_only_root);
    }
    let termination = container.termination_message_path.as_deref().unwrap_or("/dev/termination-log");
    let path = scope.kubelet.paths.termination_log(uid(&scope.pod), &container.name, parts.attempt);
    make_termination_log(&path).map_err(|source| Error::File { path: path.clone(), source })?;
    add_file(path, termination, false);
    Ok(mounts)
}

/// The path below the volume that `mount` asks for, if it asks for one.
fn sub_path<'a>(mount: &VolumeMount, lookup: impl Fn(&str) -> Option<&'a str>) -> Result<Option<String>, Error> {
    let given = |path: &Option<String>| path.clone().filter(|path| !path.is_empty());
    let path = match given(&mount.sub_path_expr) {
        Some(expression) => {
            let missing = |names: BTreeSet<String>| Error::NoValue(names.into_iter().collect::<Vec<_>>().join(", "));
            Some(expand_all(&expression, lookup).map_err(missing)?).filter(|path| !path.is_empty())
        }
        None => given(&mount.sub_path),
    };
    match path {
        Some(path) if path.starts_with('/') => Err(Error::AbsoluteSubPath(path)),
        Some(path) if path.split('/').any(|part| part == "..") => Err(Error::SubPathBackwards(path)),
        path => Ok(path),
    }
}

fn below_volume(container: &Container, mount: &VolumeMount, volume: &Path, below: &str) -> Result<PathBuf, Error> {
    let is_missing = matches!(volume.join(below).try_exists(), Ok(false));
    sub_path::resolve(volume, below).map_err(|error| {
        let (mount, container) = (mount.name.clone(), container.name.clone());
        tracing::warn!(%error, mount, container, "a subPath cannot be mounted");
        if is_missing { Error::SubPathNotMade { mount, container } } else { Error::SubPathNotFound { mount, container } }
    })
}

/// Name below the pod's directory, path in the container, content.
fn etc_files(scope: &Scope, pod_ips: &[std::net::IpAddr]) -> [(&'static str, &'static str, String); 3] {
    let (kubelet, pod) = (&scope.kubelet, &*scope.pod);
    let spec = pod.spec.clone().unwrap_or_default();
    let host_hosts = spec.host_network.unwrap_or(false).then(|| fs::read_to_string("/etc/hosts").unwrap_or_default());
    let host_resolv = fs::read_to_string(&kubelet.options.host_resolv_conf).unwrap_or_default();
    let cluster_resolv = kubelet.network.resolv_conf(namespace(pod));
    let domain = &kubelet.options.cluster_domain;
    [
        ("etc-hosts", "/etc/hosts", files::hosts(pod, pod_ips, domain, host_hosts.as_deref())),
        ("resolv.conf", "/etc/resolv.conf", files::resolv_conf(&spec, &cluster_resolv, &host_resolv)),
        ("hostname", "/etc/hostname", files::kernel_hostname(pod, domain, &kubelet.options.host_name) + "\n"),
    ]
}

/// Containers of a pod share the file and may change it: it is written anew only when what we would write changed.
fn write_if_new(path: &Path, text: &str) -> io::Result<()> {
    if fs::read_to_string(path).is_ok_and(|found| found == text) {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
}

fn make_termination_log(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::OpenOptions::new().create(true).append(true).mode(0o666).open(path)?;
    // Any user of the container may write to it, whatever the umask is.
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))
}

/// The container's profile, or the pod's; without one, as upstream without `SeccompDefault`, everything is allowed.
fn seccomp(pod: &PodSecurityContext, container: &SecurityContext, profiles: &Path) -> Seccomp {
    let profile = container.seccomp_profile.as_ref().or(pod.seccomp_profile.as_ref());
    match profile.map(|profile| (profile.type_.as_str(), profile.localhost_profile.as_deref())) {
        Some(("RuntimeDefault", _)) => Seccomp::RuntimeDefault,
        Some(("Localhost", Some(path))) => Seccomp::Localhost(profiles.join(path)),
        _ => Seccomp::Unconfined,
    }
}

fn security(pod: &Pod, container: &Container, mounted: &MountedVolumes, profiles: &Path) -> Security {
    let pod_context = pod.spec.as_ref().and_then(|spec| spec.security_context.clone()).unwrap_or_default();
    let context = container.security_context.clone().unwrap_or_default();
    let capabilities = context.capabilities.clone().unwrap_or_default();
    let mut groups = pod_context.supplemental_groups.clone().unwrap_or_default();
    let of_volumes: BTreeSet<i64> =
        mounted.values().filter_map(|volume| volume.gid).filter(|gid| !groups.contains(gid)).collect();
    groups.extend(pod_context.fs_group);
    groups.extend(of_volumes);
    Security {
        run_as_user: context.run_as_user.or(pod_context.run_as_user),
        run_as_group: context.run_as_group.or(pod_context.run_as_group),
        supplemental_groups: groups,
        strict_groups: pod_context.supplemental_groups_policy.as_deref() == Some("Strict"),
        privileged: context.privileged.unwrap_or(false),
        seccomp: seccomp(&pod_context, &context, profiles),
        read_only_root: context.read_only_root_filesystem.unwrap_or(false),
        no_new_privileges: context.allow_privilege_escalation == Some(false),
        add_capabilities: capabilities.add.unwrap_or_default(),
        drop_capabilities: capabilities.drop.unwrap_or_default(),
    }
}

fn check_non_root(pod: &Pod, container: &Container, image: &Image) -> Result<(), Error> {
    let empty = (PodSecurityContext::default(), SecurityContext::default());
    let pod_context = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref()).unwrap_or(&empty.0);
    let context = container.security_context.as_ref().unwrap_or(&empty.1);
    if !context.run_as_non_root.or(pod_context.run_as_non_root).unwrap_or(false) {
        return Ok(());
    }
    let of = format!("(pod: \"{}\", container: {})", pod_reference(pod), container.name);
    let user = image.user.split(':').next().unwrap_or_default();
    let why = match (context.run_as_user.or(pod_context.run_as_user), user) {
        (Some(0), _) => format!("container's runAsUser breaks non-root policy {of}"),
        (Some(_), _) => return Ok(()),
        (None, "" | "0") => format!("container has runAsNonRoot and image will run as root {of}"),
        (None, user) if user.parse::<u32>().is_err() => {
            format!("container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root {of}")
        }
        (None, _) => return Ok(()),
    };
    Err(Error::NonRoot(why))
}
