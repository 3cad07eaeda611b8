//! Translates a container into the OCI runtime's configuration, with containerd's defaults.
//!
//! <https://github.com/opencontainers/runtime-spec/blob/main/config.md>

use std::{
    collections::{BTreeMap, HashSet},
    path::{Path, PathBuf},
};

use oci_spec::{
    OciSpecError,
    image::ImageConfiguration,
    runtime::{
        Capability, LinuxBuilder, LinuxCapabilitiesBuilder, LinuxCpuBuilder, LinuxDeviceCgroupBuilder, LinuxMemoryBuilder,
        LinuxNamespace, LinuxNamespaceBuilder, LinuxNamespaceType, LinuxResources, LinuxResourcesBuilder, Mount as SpecMount,
        MountBuilder, ProcessBuilder, RootBuilder, Spec, SpecBuilder, UserBuilder,
    },
};

use super::{ContainerSpec, Identity, Propagation, Resources, Security, devices};
use crate::{
    cgroup::Cgroups,
    process::{IdMap, in_user_namespace},
};

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What the kernel tells that a container has no business to know; containerd's list.
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The capabilities of an ordinary container, as containerd's.
const CAPABILITIES: [Capability; 14] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fsetid,
    Capability::Fowner,
    Capability::Mknod,
    Capability::NetRaw,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setfcap,
    Capability::Setpcap,
    Capability::NetBindService,
    Capability::SysChroot,
    Capability::Kill,
    Capability::AuditWrite,
];

/// Why no configuration can be made.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// Neither the pod nor the image says what to run.
    #[error("no command specified")]
    NoCommand,
    /// A capability that Linux has not.
    #[error("unknown capability {0:?} to add or drop")]
    Capability(String),
    /// The specification library refused.
    #[error("failed to generate spec")]
    Build(#[from] OciSpecError),
}

/// Files that hold the namespaces a container joins.
#[derive(Debug, Clone, Default)]
pub(crate) struct Joined {
    /// `None`: the namespace of the calling process.
    pub(crate) network: Option<PathBuf>,
    pub(crate) ipc: PathBuf,
    pub(crate) uts: PathBuf,
    /// `None`: its own.
    pub(crate) pid: Option<PathBuf>,
    /// Mounted on `/dev/shm`.
    pub(crate) shm: PathBuf,
}

/// Everything that the configuration is made of.
#[derive(Debug)]
pub(crate) struct Inputs<'a> {
    pub(crate) spec: &'a ContainerSpec,
    pub(crate) image: &'a ImageConfiguration,
    pub(crate) identity: &'a Identity,
    pub(crate) home: &'a str,
    pub(crate) hostname: &'a str,
    pub(crate) joined: &'a Joined,
    pub(crate) cgroup: &'a str,
    pub(crate) cgroups: &'a Cgroups,
    /// Capabilities that we have ourselves, as bits; nobody can give more.
    pub(crate) own_capabilities: u64,
    pub(crate) ids: &'a IdMap,
}

pub(crate) fn generate(inputs: &Inputs<'_>) -> Result<Spec, SpecError> {
    let Inputs { spec, image, identity, .. } = inputs;
    let image_config = image.config().clone().unwrap_or_default();
    let args = command(spec, image_config.entrypoint().as_deref(), image_config.cmd().as_deref())?;
    let cwd = spec.working_dir.clone().or_else(|| image_config.working_dir().clone()).filter(|dir| !dir.is_empty());
    let capabilities = capabilities(&spec.security, inputs.own_capabilities)?;
    let set = || capabilities.iter().copied().collect::<HashSet<_>>();
    let capabilities = LinuxCapabilitiesBuilder::default()
        .bounding(set())
        .effective(set())
        .permitted(set())
        .inheritable([])
        .ambient([])
        .build()?;
    let process = ProcessBuilder::default()
        .terminal(spec.tty)
        .args(args)
        .env(environment(spec, image_config.env().as_deref(), inputs.hostname, inputs.home))
        .cwd(cwd.unwrap_or_else(|| "/".to_owned()))
        .user(UserBuilder::default().uid(identity.uid).gid(identity.gid).additional_gids(identity.groups.clone()).build()?)
        .capabilities(capabilities)
        .no_new_privileges(spec.security.no_new_privileges)
        .build()?;
    let mut linux = LinuxBuilder::default()
        .namespaces(namespaces(inputs.joined)?)
        .cgroups_path(inputs.cgroup)
        .resources(resources(&spec.resources, spec.security.privileged, inputs.cgroups)?);
    let paths = |paths: &[&str]| paths.iter().map(|&path| path.to_owned()).collect::<Vec<_>>();
    linux = match spec.security.privileged {
        true => linux.masked_paths([]).readonly_paths([]).devices(devices::all()?),
        false => linux.masked_paths(paths(&MASKED)).readonly_paths(paths(&READ_ONLY)),
    };
    // The library makes every bind mount what it makes the root, whatever the options of the mount say: the one that asks for most
    // decides for its container.
    linux = linux.rootfs_propagation(match spec.mounts.iter().map(|mount| mount.propagation).max().unwrap_or_default() {
        Propagation::Private => "private",
        Propagation::HostToContainer => "slave",
        Propagation::Bidirectional => "shared",
    });
    let root = RootBuilder::default().path("rootfs").readonly(spec.security.read_only_root).build()?;
    let mounts = mounts(spec, inputs.joined, inputs.ids)?;
    Ok(SpecBuilder::default().root(root).mounts(mounts).process(process).linux(linux.build()?).build()?)
}

/// The command line: the pod's command replaces the image's entrypoint and arguments, its arguments only the arguments.
fn command(spec: &ContainerSpec, entrypoint: Option<&[String]>, cmd: Option<&[String]>) -> Result<Vec<String>, SpecError> {
    let (mut command, mut args) = (spec.command.clone(), spec.args.clone());
    if command.is_empty() {
        if args.is_empty() {
            args = cmd.unwrap_or_default().to_vec();
        }
        command = entrypoint.unwrap_or_default().to_vec();
    }
    command.append(&mut args);
    if command.is_empty() { Err(SpecError::NoCommand) } else { Ok(command) }
}

fn environment(spec: &ContainerSpec, image: Option<&[String]>, hostname: &str, home: &str) -> Vec<String> {
    let mut values = BTreeMap::from([("PATH", PATH), ("HOSTNAME", hostname), ("HOME", home)]);
    if spec.tty {
        values.insert("TERM", "xterm");
    }
    let image = image.unwrap_or_default().iter().filter_map(|pair| pair.split_once('='));
    values.extend(image);
    values.extend(spec.env.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    values.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

fn capabilities(security: &Security, own: u64) -> Result<Vec<Capability>, SpecError> {
    let own: Vec<Capability> = (0..=40).filter(|bit| own & (1 << bit) != 0).filter_map(capability_of_bit).collect();
    let mut set = match security.privileged {
        true => own.clone(),
        false => CAPABILITIES.to_vec(),
    };
    let is_all = |name: &String| name.eq_ignore_ascii_case("all");
    if security.add_capabilities.iter().any(is_all) {
        set.clone_from(&own);
    }
    if security.drop_capabilities.iter().any(is_all) {
        set.clear();
    }
    let named =
        |name: &String| name.to_uppercase().trim_start_matches("CAP_").parse().map_err(|_| SpecError::Capability(name.clone()));
    for name in security.add_capabilities.iter().filter(|name| !is_all(name)) {
        let capability: Capability = named(name)?;
        if !set.contains(&capability) {
            set.push(capability);
        }
    }
    for name in security.drop_capabilities.iter().filter(|name| !is_all(name)) {
        let capability: Capability = named(name)?;
        set.retain(|c| *c != capability);
    }
    set.retain(|capability| own.contains(capability));
    Ok(set)
}

/// Numbers of `linux/capability.h`.
fn capability_of_bit(bit: u32) -> Option<Capability> {
    const NAMES: [&str; 41] = [
        "CHOWN",
        "DAC_OVERRIDE",
        "DAC_READ_SEARCH",
        "FOWNER",
        "FSETID",
        "KILL",
        "SETGID",
        "SETUID",
        "SETPCAP",
        "LINUX_IMMUTABLE",
        "NET_BIND_SERVICE",
        "NET_BROADCAST",
        "NET_ADMIN",
        "NET_RAW",
        "IPC_LOCK",
        "IPC_OWNER",
        "SYS_MODULE",
        "SYS_RAWIO",
        "SYS_CHROOT",
        "SYS_PTRACE",
        "SYS_PACCT",
        "SYS_ADMIN",
        "SYS_BOOT",
        "SYS_NICE",
        "SYS_RESOURCE",
        "SYS_TIME",
        "SYS_TTY_CONFIG",
        "MKNOD",
        "LEASE",
        "AUDIT_WRITE",
        "AUDIT_CONTROL",
        "SETFCAP",
        "MAC_OVERRIDE",
        "MAC_ADMIN",
        "SYSLOG",
        "WAKE_ALARM",
        "BLOCK_SUSPEND",
        "AUDIT_READ",
        "PERFMON",
        "BPF",
        "CHECKPOINT_RESTORE",
    ];
    NAMES.get(bit as usize)?.parse().ok()
}

fn namespaces(joined: &Joined) -> Result<Vec<LinuxNamespace>, OciSpecError> {
    let namespace = |kind, path: Option<&Path>| {
        let builder = LinuxNamespaceBuilder::default().typ(kind);
        match path {
            Some(path) => builder.path(path).build(),
            None => builder.build(),
        }
    };
    let mut namespaces = vec![
        namespace(LinuxNamespaceType::Mount, None)?,
        namespace(LinuxNamespaceType::Pid, joined.pid.as_deref())?,
        namespace(LinuxNamespaceType::Ipc, Some(&joined.ipc))?,
        namespace(LinuxNamespaceType::Uts, Some(&joined.uts))?,
    ];
    if joined.network.is_some() {
        namespaces.push(namespace(LinuxNamespaceType::Network, joined.network.as_deref())?);
    }
    if Path::new("/proc/self/ns/cgroup").exists() {
        namespaces.push(namespace(LinuxNamespaceType::Cgroup, None)?);
    }
    Ok(namespaces)
}

fn mounts(spec: &ContainerSpec, joined: &Joined, ids: &IdMap) -> Result<Vec<SpecMount>, OciSpecError> {
    let mount = |destination: &str, kind: &str, source: &Path, options: &[&str]| {
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        MountBuilder::default().destination(destination).typ(kind).source(source).options(options).build()
    };
    let pseudo = |destination, kind: &str, options: &[&str]| mount(destination, kind, Path::new(kind), options);
    let access = if spec.security.privileged { "rw" } else { "ro" };
    let mut terminals = vec!["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];
    // The group of terminals, by convention.
    terminals.extend(ids.has_group(5).then_some("gid=5"));
    let mut mounts = vec![
        pseudo("/proc", "proc", &["nosuid", "noexec", "nodev"])?,
        pseudo("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"])?,
        pseudo("/dev/pts", "devpts", &terminals)?,
        pseudo("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"])?,
        pseudo("/sys", "sysfs", &["nosuid", "noexec", "nodev", access])?,
        pseudo("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", access])?,
        mount("/dev/shm", "bind", &joined.shm, &["rbind", "rprivate", "rw"])?,
    ];
    let mut own: Vec<_> = spec.mounts.iter().collect();
    // A mount may lie in another one: the outer one first.
    own.sort_by_key(|m| Path::new(&m.container_path).components().count());
    for m in own {
        let access = if m.read_only { "ro" } else { "rw" };
        let propagation = match m.propagation {
            Propagation::Private => "rprivate",
            Propagation::HostToContainer => "rslave",
            Propagation::Bidirectional => "rshared",
        };
        mounts.push(mount(&m.container_path, "bind", &m.host_path, &["rbind", propagation, access])?);
    }
    // What the pod mounts on one of ours replaces it.
    let replaced = |m: &SpecMount| spec.mounts.iter().any(|own| Path::new(&own.container_path) == m.destination());
    let count = mounts.len() - spec.mounts.len();
    let mut index = 0;
    mounts.retain(|m| {
        index += 1;
        index > count || !replaced(m)
    });
    Ok(mounts)
}

/// Limits, without those that this machine has no controller for.
fn resources(resources: &Resources, privileged: bool, cgroups: &Cgroups) -> Result<LinuxResources, OciSpecError> {
    let device = LinuxDeviceCgroupBuilder::default().allow(privileged).access("rwm").build()?;
    let mut builder = LinuxResourcesBuilder::default();
    let wanted = |wanted: bool, controller: &str| {
        // In a user namespace it was said when the runtime was opened.
        if wanted && !cgroups.controls(controller) && !in_user_namespace() {
            tracing::warn!(controller, "cgroup controller is missing, the limit is not enforced");
        }
        wanted && cgroups.controls(controller)
    };
    // In a user namespace no device can be made, and what is mounted is all there is.
    if !in_user_namespace() && (cgroups.is_unified() || cgroups.controls("devices")) {
        builder = builder.devices([device]);
    }
    if wanted(resources.cpu_shares > 0 || resources.cpu_quota > 0, "cpu") {
        let mut cpu = LinuxCpuBuilder::default();
        if resources.cpu_shares > 0 {
            cpu = cpu.shares(resources.cpu_shares);
        }
        if resources.cpu_quota > 0 {
            cpu = cpu.quota(resources.cpu_quota).period(resources.cpu_period.max(1000));
        }
        builder = builder.cpu(cpu.build()?);
    }
    if wanted(resources.memory_limit > 0, "memory") {
        builder = builder.memory(LinuxMemoryBuilder::default().limit(resources.memory_limit).build()?);
    }
    builder.build()
}
