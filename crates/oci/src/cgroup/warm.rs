//! Keeps the kernel's lock for moving processes between control groups warm while a container is on its way.
//!
//! Whoever moves a process takes a lock that all forks and exits read. Its first taker waits for a grace period of RCU, 8 to 16 ms;
//! one who takes it soon after the last does not. A container's start moves a process at its end, so the wait is spent beside the
//! work that comes before: a thread moves this process to where it is, every other millisecond, which changes nothing.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// From the first step of a container's start to its move takes 20 to 40 ms; a start that takes longer pays for the lock itself.
const SPAN: Duration = Duration::from_millis(60);
/// The lock cools down within a few milliseconds; a move costs 0.15 ms meanwhile.
const PAUSE: Duration = Duration::from_millis(2);

/// The file that moves a process, and until when it is to be used.
#[derive(Debug, Default)]
pub(crate) struct Warm {
    /// `cgroup.procs` of the group that this process is in; `None` where there is none that it may write.
    procs: Option<PathBuf>,
    /// `None` while no thread is at work.
    until: Mutex<Option<Instant>>,
}

impl Warm {
    /// For the group of this process in the tree at `mount_point`, by the text of `/proc/self/cgroup`.
    pub(crate) fn new(mount_point: &Path, controllers: &[String], memberships: &str) -> Self {
        let ours = |line: &&str| {
            let of = line.split(':').nth(1).unwrap_or_default();
            if controllers.is_empty() { of.is_empty() } else { of.split(',').any(|one| controllers.iter().any(|c| c == one)) }
        };
        let group = memberships.lines().find(ours).and_then(|line| line.splitn(3, ':').nth(2));
        let procs = group.map(|group| mount_point.join(group.trim_start_matches('/')).join("cgroup.procs"));
        Self { procs, until: Mutex::default() }
    }

    /// From now on for [`SPAN`].
    pub(crate) fn keep(self: &Arc<Self>) {
        let Some(procs) = self.procs.clone() else { return };
        let is_at_work = self.until().replace(Instant::now() + SPAN).is_some();
        if is_at_work {
            return;
        }
        let warm = Arc::clone(self);
        let thread = thread::Builder::new().name("cgroup-warm".to_owned()).spawn(move || warm.work(&procs));
        if thread.is_err() {
            // The machine is out of threads; starts are slower, and nothing else.
            *self.until() = None;
        }
    }

    fn work(&self, procs: &Path) {
        loop {
            {
                let mut until = self.until();
                if until.is_none_or(|until| until <= Instant::now()) {
                    *until = None;
                    return;
                }
            }
            // 0 is the writer itself. Refused where the group belongs to somebody else: then there is nothing to gain.
            if fs::write(procs, "0").is_err() {
                *self.until() = None;
                return;
            }
            thread::sleep(PAUSE);
        }
    }

    fn until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMBERSHIPS: &str = "3:memory:/system.slice/a\n2:cpu,cpuacct:/b\n0::/c\n";

    #[test]
    fn the_group_is_the_one_of_this_process_in_that_tree() {
        let procs = |controllers: &[&str]| {
            let controllers: Vec<String> = controllers.iter().map(|&c| c.to_owned()).collect();
            Warm::new(Path::new("/tree"), &controllers, MEMBERSHIPS).procs
        };
        assert_eq!(procs(&["memory"]), Some("/tree/system.slice/a/cgroup.procs".into()));
        assert_eq!(procs(&["cpuacct"]), Some("/tree/b/cgroup.procs".into()));
        assert_eq!(procs(&[]), Some("/tree/c/cgroup.procs".into()));
        assert_eq!(procs(&["pids"]), None);
    }

    #[test]
    fn it_comes_to_an_end() {
        let dir = tempfile::tempdir().unwrap();
        let warm = Arc::new(Warm { procs: Some(dir.path().join("procs")), until: Mutex::default() });
        warm.keep();
        for _ in 0..10_000 {
            if warm.until().is_none() && dir.path().join("procs").exists() {
                return;
            }
            thread::sleep(PAUSE);
        }
        panic!("it is still at work after many times its span");
    }
}
