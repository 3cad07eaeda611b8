//! Control groups of pods and containers, version 1 (a tree for each controller) and 2 (one tree).

mod limits;
mod warm;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::signal::Signal,
    unistd::{AccessFlags, Pid, access},
};

use self::warm::Warm;
use crate::process::in_user_namespace;

/// A killed process leaves its group within milliseconds; a group that is still busy after this many waits is left behind.
const REMOVE_ATTEMPTS: u32 = 50;
const REMOVE_WAIT: Duration = Duration::from_millis(4);

/// Ends the name of the group that the machine's own processes move into.
const ASIDE: &str = "-machine";

/// One mounted tree.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Tree {
    mount_point: PathBuf,
    /// Version 1: what it controls. Version 2: empty.
    controllers: Vec<String>,
}

/// The trees of this machine.
#[derive(Debug, Clone)]
pub(crate) struct Cgroups {
    trees: Vec<Tree>,
    unified: bool,
    warm: Arc<Warm>,
}

impl Cgroups {
    /// Finds out what is mounted.
    pub(crate) fn detect() -> io::Result<Self> {
        let mut found = Self::parse(&fs::read_to_string("/proc/self/mountinfo")?);
        if in_user_namespace() {
            // Only what was given to the user who is root here. The mounts show its part of each tree and no more.
            let is_ours = |tree: &Tree| access(&tree.mount_point.join("cgroup.procs"), AccessFlags::W_OK).is_ok();
            found.trees.retain(|tree| access(&tree.mount_point, AccessFlags::W_OK).is_ok() && is_ours(tree));
        }
        if let Some(tree) = found.trees.first() {
            let memberships = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
            found.warm = Arc::new(Warm::new(&tree.mount_point, &tree.controllers, &memberships));
        }
        Ok(found)
    }

    /// A container is about to be started: see to it that the kernel does not let its move into its group wait.
    pub(crate) fn expect_start(&self) {
        self.warm.keep();
    }

    /// Has limits enforced in the groups below one that was delegated to us: the kernel wants no process in that one itself, so ours
    /// move into a group beside those of containers.
    ///
    /// Where others have processes in it too nothing is enforced, and [`Cgroups::controls`] says so.
    pub(crate) fn make_room(&self, group: &str, processes: &[i32]) {
        let Some(top) = self.delegated() else { return };
        let aside = top.join(format!("{group}{ASIDE}"));
        let moved = fs::create_dir_all(&aside).and_then(|()| move_into(&aside, processes));
        if let Err(error) = moved {
            tracing::debug!(%error, "processes stay in the delegated group");
        }
        set_controllers(&top, '+');
    }

    /// Undoes [`Cgroups::make_room`], as far as other machines in the same group let it.
    pub(crate) fn leave_room(&self, group: &str, processes: &[i32]) {
        let Some(top) = self.delegated() else { return };
        let aside = top.join(format!("{group}{ASIDE}"));
        if directories(&top).iter().all(|dir| *dir == aside) {
            set_controllers(&top, '-');
        }
        if let Err(error) = move_into(&top, processes).and_then(|()| remove_tree(&aside)) {
            tracing::debug!(%error, "processes stay beside the delegated group");
        }
    }

    /// The top of the tree, if an ordinary user may make groups in it.
    fn delegated(&self) -> Option<PathBuf> {
        self.trees.first().filter(|_| self.unified && in_user_namespace()).map(|tree| tree.mount_point.clone())
    }

    fn parse(mountinfo: &str) -> Self {
        let mut trees = Vec::new();
        let mut unified = false;
        for line in mountinfo.lines() {
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let (mut left, mut right) = (left.split(' '), right.split(' '));
            let (Some(mount_point), Some(kind)) = (left.nth(4), right.next()) else { continue };
            if !mount_point.starts_with("/sys/fs/cgroup") {
                continue;
            }
            let controllers: Vec<String> = match kind {
                "cgroup" => right.nth(1).unwrap_or_default().split(',').filter(|o| is_controller(o)).map(str::to_owned).collect(),
                // Elsewhere it is the second tree of a hybrid machine, which controls nothing that matters here.
                "cgroup2" if mount_point == "/sys/fs/cgroup" => Vec::new(),
                _ => continue,
            };
            if kind == "cgroup2" {
                // It hides whatever was mounted there before.
                (trees, unified) = (Vec::new(), true);
            }
            if kind == "cgroup2" || !controllers.is_empty() {
                trees.push(Tree { mount_point: mount_point.into(), controllers });
            }
        }
        Self { trees, unified, warm: Arc::default() }
    }

    /// One tree for everything.
    pub(crate) fn is_unified(&self) -> bool {
        self.unified
    }

    /// Whether limits of that kind (a name of version 1, such as `memory`) can be set.
    pub(crate) fn controls(&self, controller: &str) -> bool {
        if self.trees.is_empty() {
            return false;
        }
        if self.unified {
            let name = if matches!(controller, "blkio") { "io" } else { controller };
            // The root hands all on; who is root of a part only does not decide that alone.
            let file = if in_user_namespace() { "cgroup.subtree_control" } else { "cgroup.controllers" };
            let enabled = fs::read_to_string(Path::new("/sys/fs/cgroup").join(file)).unwrap_or_default();
            return enabled.split_ascii_whitespace().any(|c| c == name);
        }
        self.trees.iter().any(|tree| tree.controllers.iter().any(|c| c == controller))
    }

    /// Directories of the group in every tree.
    fn dirs(&self, group: &str) -> impl Iterator<Item = PathBuf> {
        let group = group.trim_start_matches('/');
        self.trees.iter().map(move |tree| tree.mount_point.join(group))
    }

    fn dir_of(&self, controller: &str, group: &str) -> Option<PathBuf> {
        let has = |tree: &&Tree| self.unified || tree.controllers.iter().any(|c| c == controller);
        self.trees.iter().find(has).map(|tree| tree.mount_point.join(group.trim_start_matches('/')))
    }

    /// Moves the calling process, which has a single thread, into the group, wherever the group exists.
    pub(crate) fn join(&self, group: &str) -> io::Result<()> {
        // To move just the calling thread, the kernel need not wait until every processor has passed a quiet point, which
        // takes ten milliseconds and more. Version 2 cannot.
        let file = if self.unified { "cgroup.procs" } else { "tasks" };
        self.dirs(group).filter(|dir| dir.exists()).try_for_each(|dir| fs::write(dir.join(file), "0"))
    }

    /// Processes that the kernel killed in the group for lack of memory.
    pub(crate) fn oom_kills(&self, group: &str) -> u64 {
        let file = if self.unified { "memory.events" } else { "memory.oom_control" };
        let Some(dir) = self.dir_of("memory", group) else { return 0 };
        let text = fs::read_to_string(dir.join(file)).unwrap_or_default();
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or(0)
    }

    /// Sends SIGKILL to everything in the group and in groups below.
    pub(crate) fn kill(&self, group: &str) {
        for dir in self.dirs(group).filter(|dir| dir.exists()) {
            if fs::write(dir.join("cgroup.kill"), "1").is_err() {
                kill_each(&dir);
            }
        }
    }

    /// Removes the group and the groups below. What does not go away is said in the log: it harms nobody.
    pub(crate) fn remove(&self, group: &str) {
        for dir in self.dirs(group) {
            if let Err(error) = remove_tree(&dir) {
                tracing::warn!(cgroup = %dir.display(), %error, "cgroup left behind");
            }
        }
    }
}

/// Moves processes, those among them that can be moved; one that is gone or in somebody else's group stays out of the way.
fn move_into(dir: &Path, processes: &[i32]) -> io::Result<()> {
    let mut outcome = Ok(());
    for process in processes {
        outcome = outcome.and(fs::write(dir.join("cgroup.procs"), process.to_string()));
    }
    outcome
}

/// Enables (`+`) or disables (`-`) every controller there is for the groups below.
fn set_controllers(dir: &Path, sign: char) {
    let controllers = fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default();
    for controller in controllers.split_ascii_whitespace() {
        // One that cannot be set is one that does not count.
        let _ = fs::write(dir.join("cgroup.subtree_control"), format!("{sign}{controller}"));
    }
}

/// Tells controllers from other mount options.
fn is_controller(option: &str) -> bool {
    !matches!(option, "rw" | "ro" | "none" | "xattr" | "noprefix" | "clone_children")
        && !option.starts_with("release_agent=")
        && !option.starts_with("name=")
}

fn kill_each(dir: &Path) {
    let procs = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    for pid in procs.lines().filter_map(|line| line.parse().ok()) {
        let _ = nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    for below in directories(dir) {
        kill_each(&below);
    }
}

fn directories(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()).collect()
}

fn remove_tree(dir: &Path) -> io::Result<()> {
    for below in directories(dir) {
        remove_tree(&below)?;
    }
    for _ in 1..REMOVE_ATTEMPTS {
        match fs::remove_dir(dir) {
            Err(error) if error.raw_os_error() == Some(Errno::EBUSY as i32) => thread::sleep(REMOVE_WAIT),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => return other,
        }
    }
    fs::remove_dir(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_layouts_are_recognised() {
        let hybrid = "\
            30 25 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
            31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
            32 30 0:28 / /sys/fs/cgroup/memory rw shared:3 - cgroup cgroup rw,memory\n\
            33 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let hybrid = Cgroups::parse(hybrid);
        assert!(!hybrid.is_unified() && hybrid.controls("cpuacct") && hybrid.controls("memory") && !hybrid.controls("pids"));
        let dirs: Vec<_> = hybrid.dirs("/a/b").collect();
        assert_eq!(dirs, ["cpu,cpuacct", "memory"].map(|tree| PathBuf::from(format!("/sys/fs/cgroup/{tree}/a/b"))));
        let unified = Cgroups::parse("30 25 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n");
        assert!(unified.is_unified());
    }
}
