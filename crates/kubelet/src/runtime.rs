//! The container runtime behind one trait, in the shape of the CRI.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use windlass_planner::pod::Identity;

use crate::session::{Session, Streams};

/// An image that is on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Digest of the image configuration, `sha256:…`.
    pub id: String,
    /// Names it is known by, fully qualified: `docker.io/library/nginx:1.14.2`.
    pub tags: Vec<String>,
    /// `docker.io/library/nginx@sha256:…`, the digest of the manifest (or index) that was pulled.
    pub digests: Vec<String>,
    /// Bytes on disk.
    pub size: u64,
    /// `User` of the image configuration.
    pub user: String,
}

/// User and password for one registry.
#[derive(Clone, PartialEq, Eq)]
pub struct RegistryAuth {
    /// Host as the image name has it, such as `docker.io`.
    pub registry: String,
    /// User name.
    pub username: String,
    /// Password or token.
    pub password: String,
}

impl std::fmt::Debug for RegistryAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegistryAuth").field("registry", &self.registry).field("username", &self.username).finish_non_exhaustive()
    }
}

/// What a pod's containers share.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxConfig {
    /// `metadata.uid`.
    pub pod_uid: String,
    /// `metadata.name`.
    pub pod_name: String,
    /// `metadata.namespace`.
    pub pod_namespace: String,
    /// Counts the sandboxes of one pod, from 0.
    pub attempt: u32,
    /// Host name inside.
    pub hostname: String,
    /// Share the machine's network namespace instead of an own one.
    pub host_network: bool,
    /// Share one process namespace among the containers.
    pub share_pid: bool,
    /// Kernel parameters of the pod's namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// Cgroup of the pod, below the machine's root cgroup: `kubepods/burstable/pod<uid>`.
    pub cgroup_parent: String,
    /// What its containers may have together of memory and CPU time.
    #[serde(default)]
    pub limits: Resources,
}

/// A sandbox that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    /// Id.
    pub id: String,
    /// The configuration it was made from.
    pub config: SandboxConfig,
    /// File that holds the network namespace; `None` with `host_network`.
    pub netns: Option<PathBuf>,
    /// Whether its namespaces are there. They are not after a reboot of the machine: then it can only be removed.
    pub ready: bool,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Which later mounts cross the border between a machine and a container's mount.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    /// None.
    #[default]
    Private,
    /// The machine's.
    HostToContainer,
    /// Those of either.
    Bidirectional,
}

/// A mount from the machine into a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Path on the machine; exists.
    pub host_path: PathBuf,
    /// Path inside; made when absent.
    pub container_path: String,
    /// No writes.
    pub read_only: bool,
    /// What of later mounts is seen on the other side.
    #[serde(default)]
    pub propagation: Propagation,
}

/// Limits and shares of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// cgroup v1 `cpu.shares`; converted for v2.
    pub cpu_shares: u64,
    /// Microseconds of CPU a period; 0: no limit.
    pub cpu_quota: i64,
    /// The period in microseconds.
    pub cpu_period: u64,
    /// Bytes; 0: no limit.
    pub memory_limit: i64,
    /// `oom_score_adj`; a kernel that refuses it is tolerated.
    pub oom_score_adj: i32,
}

/// Which system calls a container may make.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seccomp {
    /// All.
    #[default]
    Unconfined,
    /// Those that the runtime allows by default.
    RuntimeDefault,
    /// Those of a profile in this file.
    Localhost(PathBuf),
}

/// Security of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Security {
    /// User id, or the image's.
    pub run_as_user: Option<i64>,
    /// Group id, or the image's.
    pub run_as_group: Option<i64>,
    /// Further groups (`fsGroup`, `supplementalGroups`).
    pub supplemental_groups: Vec<i64>,
    /// Those are all: the groups that the image gives its user are left out.
    #[serde(default)]
    pub strict_groups: bool,
    /// Everything is allowed.
    pub privileged: bool,
    /// Root file system is read-only.
    pub read_only_root: bool,
    /// Which system calls it may make.
    #[serde(default)]
    pub seccomp: Seccomp,
    /// `no_new_privs`.
    pub no_new_privileges: bool,
    /// Capabilities to add to the default set, without `CAP_`; `ALL`.
    pub add_capabilities: Vec<String>,
    /// Capabilities to drop; `ALL`.
    pub drop_capabilities: Vec<String>,
}

/// One container to run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerConfig {
    /// Name in the pod.
    pub name: String,
    /// Counts the runs of this container in its pod, from 0.
    pub attempt: u32,
    /// Image id as [`Image::id`].
    pub image_id: String,
    /// Replaces the image's entrypoint when not empty.
    pub command: Vec<String>,
    /// Replaces the image's arguments when not empty (or when `command` is set).
    pub args: Vec<String>,
    /// Replaces the image's when set.
    pub working_dir: Option<String>,
    /// Added to the image's, later wins.
    pub env: Vec<(String, String)>,
    /// Mounts, in order.
    pub mounts: Vec<Mount>,
    /// Limits.
    pub resources: Resources,
    /// Security.
    pub security: Security,
    /// Where stdout and stderr go, in the CRI log format (`<RFC3339Nano> stdout F <line>`), rotated by the shim.
    pub log_path: PathBuf,
    /// Keep stdin open.
    pub stdin: bool,
    /// Close stdin when the first client that attached to it has no more to say.
    #[serde(default)]
    pub stdin_once: bool,
    /// Give it a terminal.
    pub tty: bool,
    /// Id of the container whose process namespace it joins, where the pod does not share one anyhow.
    #[serde(default)]
    pub pid_of: Option<String>,
    /// Kept with the container and given back by `list`: the kubelet's own notes (a hash of the spec, say).
    pub annotations: BTreeMap<String, String>,
}

/// Where a container is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerState {
    /// Made, not started.
    Created,
    /// Running.
    Running {
        /// When it was started.
        started_at: Timestamp,
    },
    /// Ended.
    Exited {
        /// When it was started.
        started_at: Timestamp,
        /// When it ended.
        finished_at: Timestamp,
        /// Exit code; 128 + signal for a killed one.
        exit_code: i32,
        /// Killed by the kernel for memory.
        oom_killed: bool,
        /// What kept it from starting, if something did.
        message: String,
    },
}

/// A container that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Id, 64 hexadecimal digits.
    pub id: String,
    /// Sandbox it lives in.
    pub sandbox_id: String,
    /// The configuration it was made from.
    pub config: ContainerConfig,
    /// Who its first process is, where that is known.
    pub identity: Option<Identity>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Where it is in its life.
    pub state: ContainerState,
}

/// What `exec` gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOutput {
    /// Exit code.
    pub exit_code: i32,
    /// Standard output and error, in the order written, cut at 10 KiB each.
    pub output: Vec<u8>,
}

/// Something that happened to a container without being asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerExited {
    /// The pod.
    pub pod_uid: String,
    /// The container.
    pub container_id: String,
}

/// Why a call to the runtime failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The image's name cannot be parsed.
    #[error("couldn't parse image name {name:?}: {why}")]
    InvalidImageName {
        /// As written.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// The registry does not know it, refuses, or cannot be reached.
    #[error("{0}")]
    Pull(String),
    /// No such image, sandbox or container.
    #[error("{what} {id} not found")]
    NotFound {
        /// `image`, `sandbox` or `container`.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// The container could not be made or started (a missing command, say).
    #[error("{0}")]
    Start(String),
    /// The container uses more memory than it is to have.
    #[error("memory limit ({limit}) below current usage ({usage})")]
    MemoryInUse {
        /// Bytes that it is to have.
        limit: i64,
        /// Bytes that it uses.
        usage: u64,
    },
    /// It did not end in time.
    #[error("timed out after {0:?}")]
    Timeout(Duration),
    /// Any other failure.
    #[error("{doing}")]
    Io {
        /// What was being done.
        doing: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}

/// Addresses of a pod, the primary first.
pub type PodIps = Vec<IpAddr>;

/// Runs containers. Everything it made outlives this process: [`Runtime::sandboxes`] and [`Runtime::containers`] find it again.
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// `containerRuntimeVersion` of the node, such as `windlass://0.1.0`.
    fn version(&self) -> String;

    /// The image of that name or id, if it is here.
    async fn image(&self, name: &str) -> Result<Option<Image>, Error>;
    /// All images that are here.
    async fn images(&self) -> Result<Vec<Image>, Error>;
    /// Pulls (or checks the digest and finds it here) and returns the image. Tries each credential, then none.
    async fn pull(&self, name: &str, auth: &[RegistryAuth]) -> Result<Image, Error>;
    /// Removes an image and the layers that no other needs.
    async fn remove_image(&self, id: &str) -> Result<(), Error>;

    /// Makes a pod's namespaces and cgroup.
    async fn create_sandbox(&self, config: SandboxConfig) -> Result<Sandbox, Error>;
    /// Kills what still runs in it and removes its containers, namespaces and cgroup; succeeds when it is gone already.
    async fn remove_sandbox(&self, id: &str) -> Result<(), Error>;
    /// Every sandbox that exists.
    async fn sandboxes(&self) -> Result<Vec<Sandbox>, Error>;

    /// Makes a container: root file system, bundle.
    async fn create_container(&self, sandbox_id: &str, config: ContainerConfig) -> Result<String, Error>;
    /// Starts it; returns once its process runs (or could not be run).
    async fn start_container(&self, id: &str) -> Result<(), Error>;
    /// Gives a running container other shares of CPU and other limits of CPU and memory (0: as they are), and notes `annotations` with it.
    /// Nothing happens to one that does not run, or that would have less memory than it uses ([`Error::MemoryInUse`]).
    async fn update_container(&self, id: &str, resources: &Resources, annotations: BTreeMap<String, String>)
    -> Result<(), Error>;
    /// Sends the stop signal (the image's, or SIGTERM), waits, then SIGKILL; returns when it has ended.
    async fn stop_container(&self, id: &str, grace: Duration) -> Result<(), Error>;
    /// Removes a container that has ended, its root file system included, not its log.
    async fn remove_container(&self, id: &str) -> Result<(), Error>;
    /// One container.
    async fn container(&self, id: &str) -> Result<Container, Error>;
    /// Every container that exists, of one sandbox or of all.
    async fn containers(&self, sandbox_id: Option<&str>) -> Result<Vec<Container>, Error>;
    /// Runs a command in a running container and waits for it.
    async fn exec(&self, id: &str, command: &[String], timeout: Duration) -> Result<ExecOutput, Error>;
    /// Starts a command in a running container to talk to.
    async fn exec_session(&self, id: &str, command: &[String], streams: Streams) -> Result<Session, Error>;
    /// Connects to the streams of a running container, from now on.
    async fn attach(&self, id: &str, streams: Streams) -> Result<Session, Error>;
    /// Containers that ended, as they end; a subscriber that lags must list.
    fn exits(&self) -> broadcast::Receiver<ContainerExited>;
}
