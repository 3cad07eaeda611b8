//! Containers: what is asked for, how it is written down, and what runs it.

mod adopt;
mod argv;
mod attach;
mod copy;
mod create;
mod devices;
mod enter;
mod error;
mod exec;
mod executor;
mod exits;
mod log;
mod orphans;
mod pause;
mod record;
mod rootfs;
mod runtime;
mod sandbox;
mod session;
mod shim;
mod spec;
mod state;
mod stdio;
mod stop;
mod update;
mod user;

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

pub use crate::seccomp::{Seccomp, SeccompError};
pub use attach::AttachRequest;
pub(crate) use enter::main as enter_main;
pub use exec::{ExecOutput, ExecRequest};
pub use orphans::end_orphans;
pub(crate) use pause::main as pause_main;
pub use runtime::{Container, Exited, Runtime, RuntimeConfig, RuntimeError};
pub use sandbox::Sandbox;
pub use session::{End, Input, Output, Session, Terminal};
pub(crate) use shim::main as shim_main;
pub use state::Phase;

/// What a sandbox's containers share.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxSpec {
    /// Host name inside.
    pub hostname: String,
    /// Share the machine's network namespace instead of an own one.
    pub host_network: bool,
    /// Share one process namespace among the containers.
    pub share_pid: bool,
    /// Kernel parameters of the sandbox's namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// Control group of the sandbox, below the machine's: `kubepods/burstable/pod<uid>`.
    pub cgroup_parent: String,
    /// What its containers may have together of memory and CPU time.
    #[serde(default)]
    pub limits: Resources,
    /// Kept and given back as it is.
    pub note: String,
}

/// Which later mounts cross the border between a machine and a container's mount, least first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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

/// Limits and shares of a container. Zero means none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Version 1 `cpu.shares`; converted for version 2.
    pub cpu_shares: u64,
    /// Microseconds of CPU a period.
    pub cpu_quota: i64,
    /// The period in microseconds.
    pub cpu_period: u64,
    /// Bytes.
    pub memory_limit: i64,
    /// How willingly the kernel kills it; a kernel that refuses the value is tolerated.
    pub oom_score_adj: i32,
}

/// What a container may do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Security {
    /// User id, or the image's user.
    pub run_as_user: Option<u32>,
    /// Group id, or that of the user.
    pub run_as_group: Option<u32>,
    /// Further groups.
    pub supplemental_groups: Vec<u32>,
    /// Those are all: the groups that the image gives its user are left out.
    #[serde(default)]
    pub strict_groups: bool,
    /// Everything is allowed.
    pub privileged: bool,
    /// The root file system is read-only.
    pub read_only_root: bool,
    /// Which system calls its programs may make; a privileged container may make all.
    #[serde(default)]
    pub seccomp: Seccomp,
    /// No privileges through set-user-id programs.
    pub no_new_privileges: bool,
    /// Capabilities to add to the default set, without `CAP_`; `ALL`.
    pub add_capabilities: Vec<String>,
    /// Capabilities to drop; `ALL`.
    pub drop_capabilities: Vec<String>,
}

/// Who the first process of a container is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// All its groups, in order.
    pub groups: Vec<u32>,
}

/// One container to run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Digest of the image's configuration.
    pub image_id: String,
    /// Replaces the image's entrypoint when not empty.
    pub command: Vec<String>,
    /// Replaces the image's arguments when not empty (or when `command` is set).
    pub args: Vec<String>,
    /// Replaces the image's when set.
    pub working_dir: Option<String>,
    /// Added to the image's; later ones win.
    pub env: Vec<(String, String)>,
    /// Mounts.
    pub mounts: Vec<Mount>,
    /// Limits.
    pub resources: Resources,
    /// What it may do.
    pub security: Security,
    /// Where its output goes, in the CRI's log format.
    pub log_path: PathBuf,
    /// Keep standard input open.
    pub stdin: bool,
    /// Close it when the first client that attached to it has no more to say.
    #[serde(default)]
    pub stdin_once: bool,
    /// Give it a terminal.
    pub tty: bool,
    /// Id of the container whose process namespace it joins, where the sandbox does not share one anyhow.
    #[serde(default)]
    pub pid_of: Option<String>,
    /// Kept and given back as it is.
    pub note: String,
}
