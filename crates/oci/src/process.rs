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
}
