//! A process that can be told from a later one with the same number.

use std::{fs, io, os::fd::OwnedFd};

use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::kernel::{pidfd_open, pidfd_send_signal};

/// Number and start of a process; numbers are used again, the two together are not (within one boot).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessId {
    pub(crate) pid: i32,
    /// Clock ticks between boot and start.
    start: u64,
}

impl ProcessId {
    /// The process with this number now.
    pub(crate) fn of(pid: i32) -> io::Result<Self> {
        Ok(Self { pid, start: start_of(pid)? })
    }

    /// A descriptor for it; `None` when it has ended and was reaped.
    pub(crate) fn open(self) -> io::Result<Option<OwnedFd>> {
        let fd = match pidfd_open(Pid::from_raw(self.pid)) {
            Ok(fd) => fd,
            Err(error) if error.raw_os_error() == Some(nix::libc::ESRCH) => return Ok(None),
            Err(error) => return Err(error),
        };
        // Checked after opening: now the number cannot change its owner any more.
        Ok((start_of(self.pid).ok() == Some(self.start)).then_some(fd))
    }

    /// Sends a signal, if it still lives.
    pub(crate) fn signal(self, signal: i32) -> io::Result<()> {
        let Some(fd) = self.open()? else { return Ok(()) };
        match pidfd_send_signal(fd, signal) {
            Err(error) if error.raw_os_error() == Some(nix::libc::ESRCH) => Ok(()),
            other => other,
        }
    }
}

/// Field 22 of `/proc/PID/stat`.
fn start_of(pid: i32) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in parentheses, may have spaces and parentheses in it; field 3 follows the last one.
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let start = after_name.split_ascii_whitespace().nth(19).and_then(|field| field.parse().ok());
    start.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat")))
}

/// Names the time since the machine was started last.
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Whether our root is somebody else's ordinary user.
pub(crate) fn in_user_namespace() -> bool {
    // The initial namespace maps all ids to themselves.
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().ne(["0", "0", "4294967295"])
}

/// Bits of the capabilities that this process may use.
pub(crate) fn own_capabilities() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/thread-self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapPrm:"));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .ok_or_else(|| io::Error::other("no CapPrm in /proc/self/status"))
}

/// Whether a process may choose its further groups; not where an ordinary user has mapped its own id alone.
pub(crate) fn may_set_groups() -> bool {
    fs::read_to_string("/proc/self/setgroups").map_or(true, |text| text.trim() != "deny")
}

/// The ids that there are for containers.
#[derive(Debug, Clone)]
pub(crate) struct IdMap {
    users: Vec<(u32, u32)>,
    groups: Vec<(u32, u32)>,
    /// See [`may_set_groups`].
    pub(crate) may_set_groups: bool,
}

impl IdMap {
    /// Those of the user namespace that this process is in.
    pub(crate) fn current() -> io::Result<Self> {
        let read = |file: &str| fs::read_to_string(file).map(|text| ranges(&text));
        Ok(Self { users: read("/proc/self/uid_map")?, groups: read("/proc/self/gid_map")?, may_set_groups: may_set_groups() })
    }

    /// Whether a file may belong to that group.
    pub(crate) fn has_group(&self, gid: u32) -> bool {
        has(&self.groups, gid)
    }

    /// Says why a process cannot run as these.
    pub(crate) fn check(&self, uid: u32, gid: u32) -> Result<(), String> {
        for (kind, file, id, ranges) in [("user", "/etc/subuid", uid, &self.users), ("group", "/etc/subgid", gid, &self.groups)] {
            if !has(ranges, id) {
                return Err(format!(
                    "cannot run as {kind} {id}: this machine runs without root and has no such id; give its user more in {file}"
                ));
            }
        }
        Ok(())
    }
}

fn has(ranges: &[(u32, u32)], id: u32) -> bool {
    ranges.iter().any(|(first, count)| id.checked_sub(*first).is_some_and(|above| above < *count))
}

/// First id inside and number of ids, of lines such as `0 1000 1`.
fn ranges(text: &str) -> Vec<(u32, u32)> {
    let range = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        Some((fields.next()?.parse().ok()?, fields.nth(1)?.parse().ok()?))
    };
    text.lines().filter_map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_number_and_start() {
        let own = i32::try_from(std::process::id()).unwrap();
        let process = ProcessId::of(own).unwrap();
        assert!(process.open().unwrap().is_some());
        let later = ProcessId { start: process.start + 1, ..process };
        assert!(later.open().unwrap().is_none());
    }

    #[test]
    fn an_id_that_is_not_mapped_is_named() {
        let one = ranges("         0       1000          1\n");
        let ids = IdMap { users: one.clone(), groups: one, may_set_groups: false };
        assert_eq!(ids.check(0, 0), Ok(()));
        assert!(ids.check(101, 0).unwrap_err().starts_with("cannot run as user 101: "));
        assert!(ids.check(0, 5).unwrap_err().ends_with("/etc/subgid") && !ids.has_group(5));
        assert!(has(&ranges("0 0 4294967295"), 65_534));
    }
}
