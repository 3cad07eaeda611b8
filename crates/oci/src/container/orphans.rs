//! Ends containers whose namespaces can no longer be reached: the process that held them was killed.

use std::{
    fs, io,
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
};

use nix::{
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use super::{pause, state::State};
use crate::kernel::pidfd_send_signal;

/// A shim whose container was killed writes that down, durably, and ends.
const SHIM_PATIENCE: u16 = 10_000;

/// Kills what runs below a data directory, and waits for its shims; the number of containers that ran.
///
/// # Errors
/// When a process cannot be killed, or does not end.
pub fn end_orphans(data_dir: &Path) -> io::Result<usize> {
    let mut shims = Vec::new();
    for dir in directories(&data_dir.join("containers"))? {
        let Some(state) = State::read(&dir).ok().flatten().filter(State::is_of_this_boot) else { continue };
        let Some(shim) = state.shim.open()? else { continue };
        match state.init {
            Some(init) => init.signal(libc::SIGKILL)?,
            // It has not got so far.
            None => kill(&shim)?,
        }
        shims.push(shim);
    }
    for dir in directories(&data_dir.join("sandboxes"))? {
        pause::kill(&dir)?;
    }
    for shim in &shims {
        if !wait(shim)? {
            kill(shim)?;
            wait(shim)?;
        }
    }
    Ok(shims.len())
}

fn directories(dir: &Path) -> io::Result<Vec<std::path::PathBuf>> {
    match fs::read_dir(dir) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn kill(process: &OwnedFd) -> io::Result<()> {
    match pidfd_send_signal(process, libc::SIGKILL) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        other => other,
    }
}

/// Whether the process ends in time.
fn wait(process: &OwnedFd) -> io::Result<bool> {
    let mut fds = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    Ok(poll(&mut fds, PollTimeout::from(SHIM_PATIENCE))? > 0)
}
