//! The upgrade in place: this process becomes the binary that is on the disk now, and keeps its sockets and its directory.

use std::{
    fs::File,
    net::TcpListener,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use windlass_oci::inherited;

use super::{data_dir::DataDir, signals};

/// Environment variable with what is no descriptor.
const VARIABLE: &str = "WINDLASS_UPGRADE";

/// A binary says its version at once, or is none of ours.
const TRIAL: Duration = Duration::from_secs(10);

/// What is told on: relative paths no longer lead where they led, as the working directory is another one.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    process: u32,
    data_dir: PathBuf,
    kubeconfig: PathBuf,
}

/// What an upgraded process finds instead of making it.
#[derive(Debug)]
pub(crate) struct Inherited {
    pub(crate) data_dir: DataDir,
    pub(crate) kubeconfig: PathBuf,
    /// The API's socket on the host.
    pub(crate) listener: TcpListener,
    /// The API's socket inside the machine, if there is an inside.
    pub(crate) inside: Option<TcpListener>,
}

/// What the process before this one left, if this is an upgrade.
pub(crate) fn inherited() -> Result<Option<Inherited>> {
    let Some(note) = std::env::var_os(VARIABLE) else { return Ok(None) };
    let note: Note = serde_json::from_slice(note.as_encoded_bytes()).with_context(|| format!("{VARIABLE} is not ours"))?;
    // Handed down by a process that was one once: the variable stays in its environment.
    if note.process != std::process::id() {
        return Ok(None);
    }
    let mut descriptors = inherited::take().into_iter();
    let (Some(lock), Some(listener)) = (descriptors.next(), descriptors.next()) else {
        bail!("the process before this one handed no sockets over; start windlass again");
    };
    Ok(Some(Inherited {
        data_dir: DataDir::inherit(note.data_dir, File::from(lock))?,
        kubeconfig: note.kubeconfig,
        listener: listener.into(),
        inside: descriptors.next().map(TcpListener::from),
    }))
}

/// Where the binary of this process is; asked for at the start, since a replaced file has another name.
pub(crate) fn binary() -> Result<PathBuf> {
    std::env::current_exe().context("cannot find the binary that is running")
}

/// Tries whether the binary can take over.
pub(crate) async fn try_out(binary: &Path) -> Result<()> {
    let mut command = tokio::process::Command::new(binary);
    command.arg("--version").env_remove(VARIABLE).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(TRIAL, command.output());
    let output = output.await.with_context(|| format!("{} --version does not end", binary.display()))?;
    let output = output.with_context(|| format!("cannot run {}", binary.display()))?;
    let is_ours = output.status.success() && output.stdout.starts_with(b"windlass ");
    ensure!(is_ours, "{} --version does not say the version of a windlass", binary.display());
    Ok(())
}

/// Becomes the binary; comes back only with what kept it from that.
pub(crate) fn become_binary(binary: &Path, data_dir: &DataDir, kubeconfig: &Path, sockets: &[OwnedFd]) -> Result<()> {
    let note = Note { process: std::process::id(), data_dir: data_dir.path().to_owned(), kubeconfig: kubeconfig.to_owned() };
    // A signal that comes while nobody listens waits for the next listener.
    signals::block()?;
    let mut command = std::process::Command::new(binary);
    command.args(std::env::args_os().skip(1)).env(VARIABLE, serde_json::to_string(&note)?);
    let descriptors: Vec<_> = std::iter::once(data_dir.lock()).chain(sockets.iter().map(AsFd::as_fd)).collect();
    Err(inherited::exec(&mut command, &descriptors)).with_context(|| format!("cannot become {}", binary.display()))
}
