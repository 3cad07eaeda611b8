//! Namespaces that a pod's containers share, held by files instead of a process.

use std::{
    fs, io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use jiff::Timestamp;
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    sys::statfs::{FsType, statfs},
};
use serde::{Deserialize, Serialize};

use super::{SandboxSpec, pause, spec::Joined};
use crate::{internal::PAUSE, kernel};

/// Name of the record in the sandbox's directory. Beside it: `net`, `ipc`, `uts` (namespaces) and `shm`.
const FILE: &str = "sandbox.json";

/// `NSFS_MAGIC` of `linux/magic.h`.
const NAMESPACE_FILE_SYSTEM: FsType = FsType(0x6e73_6673);

/// A sandbox that exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// Id, 64 hexadecimal digits.
    pub id: String,
    /// What it was made from.
    pub spec: SandboxSpec,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its directory.
    dir: PathBuf,
}

impl Sandbox {
    /// Makes the namespaces and writes the record.
    pub(crate) fn create(id: String, dir: PathBuf, spec: SandboxSpec, executable: &Path) -> io::Result<Self> {
        fs::create_dir_all(&dir)?;
        let sandbox = Self { id, spec, created_at: Timestamp::now(), dir };
        sandbox.make_namespaces()?;
        if sandbox.spec.share_pid {
            sandbox.make_process_namespace(executable)?;
        }
        let shm = sandbox.dir.join("shm");
        fs::create_dir_all(&shm)?;
        let flags = MsFlags::MS_NOEXEC | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("shm"), &shm, Some("tmpfs"), flags, Some("mode=1777,size=65536k"))?;
        let beside = sandbox.dir.join("sandbox.tmp");
        fs::write(&beside, serde_json::to_vec(&sandbox)?)?;
        fs::rename(beside, sandbox.dir.join(FILE))?;
        Ok(sandbox)
    }

    pub(crate) fn read(dir: &Path) -> io::Result<Self> {
        let sandbox: Self = serde_json::from_slice(&fs::read(dir.join(FILE))?)?;
        Ok(Self { dir: dir.to_owned(), ..sandbox })
    }

    /// File that holds the network namespace; `None` when it shares the machine's.
    pub fn netns(&self) -> Option<PathBuf> {
        (!self.spec.host_network).then(|| self.dir.join("net"))
    }

    /// Whether its namespaces are there. They are not after a reboot; containers cannot be started in it then.
    pub fn is_ready(&self) -> bool {
        let mut names = vec!["ipc", "uts"];
        names.extend((!self.spec.host_network).then_some("net"));
        names.extend(self.spec.share_pid.then_some(pause::NAMESPACE));
        let holds = |name: &str| statfs(&self.dir.join(name)).is_ok_and(|s| s.filesystem_type() == NAMESPACE_FILE_SYSTEM);
        names.into_iter().all(holds)
    }

    /// What its containers join.
    pub(crate) fn joined(&self, host_network: Option<&Path>) -> Joined {
        Joined {
            network: self.netns().or_else(|| host_network.map(Path::to_owned)),
            ipc: self.dir.join("ipc"),
            uts: self.dir.join("uts"),
            pid: self.spec.share_pid.then(|| self.dir.join(pause::NAMESPACE)),
            shm: self.dir.join("shm"),
        }
    }

    /// Lets go of the namespaces and removes the directory.
    pub(crate) fn destroy(&self) -> io::Result<()> {
        destroy_dir(&self.dir)
    }

    /// Unlike the others, a process namespace ends with its first process, so there has to be one.
    fn make_process_namespace(&self, executable: &Path) -> io::Result<()> {
        let mut command = Command::new(executable);
        let made = command.arg0(PAUSE).arg(&self.dir).env_clear().stdin(Stdio::null()).output()?;
        if made.status.success() {
            return Ok(());
        }
        Err(io::Error::other(format!("no process namespace: {}", String::from_utf8_lossy(&made.stderr).trim())))
    }

    /// In a thread of its own: a namespace entered by a thread stays its own until it ends.
    fn make_namespaces(&self) -> io::Result<()> {
        let made = thread::scope(|scope| scope.spawn(|| self.make_namespaces_here()).join());
        made.unwrap_or_else(|_| Err(io::Error::other("the thread that makes namespaces panicked")))
    }

    fn make_namespaces_here(&self) -> io::Result<()> {
        let own_network = !self.spec.host_network;
        let network = if own_network { CloneFlags::CLONE_NEWNET } else { CloneFlags::empty() };
        unshare(CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS | network)?;
        nix::unistd::sethostname(&self.spec.hostname)?;
        if own_network {
            kernel::bring_loopback_up()?;
        }
        for (name, value) in &self.spec.sysctls {
            let path = Path::new("/proc/sys").join(name.replace('.', "/"));
            fs::write(path, value).map_err(|e| io::Error::new(e.kind(), format!("sysctl {name:?}: {e}")))?;
        }
        let names = if own_network { &["net", "ipc", "uts"][..] } else { &["ipc", "uts"] };
        for name in names {
            let file = self.dir.join(name);
            fs::write(&file, "")?;
            let namespace = format!("/proc/thread-self/ns/{name}");
            mount(Some(namespace.as_str()), &file, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
        }
        Ok(())
    }
}

/// Removes a sandbox's directory, whatever state it is in.
pub(crate) fn destroy_dir(dir: &Path) -> io::Result<()> {
    // First, so that a kill in the middle leaves a leftover and no torn sandbox.
    match fs::remove_file(dir.join(FILE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => pause::kill(dir)?,
    }
    for name in ["net", "ipc", "uts", "shm", pause::NAMESPACE] {
        // Not mounted is as good as unmounted.
        let _ = umount2(&dir.join(name), MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW);
    }
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
