//! `windlass reset`: removes what a stopped machine has kept, files of an ordinary user's subordinate ids among it.

use std::{fs, io, path::Path};

use anyhow::{Context as _, Result, bail};
use windlass_cli::args;
use windlass_network::Holder;
use windlass_oci::user_namespace;

use crate::up::{data_dir::DataDir, ground, start_logging};

/// What a machine keeps. Whatever else is in the directory was put there by somebody else, and stays; the lock goes last.
const KEPT: [&str; 14] = [
    "containers",
    "holder.lock",
    "holder.log",
    "holder.sock",
    "kubeconfig",
    "kubeconfig.new",
    "network",
    "pki",
    "pods",
    "pods-logs",
    "store",
    "token",
    "volumes",
    "lock",
];

pub(crate) fn main(options: &args::Reset) -> Result<()> {
    start_logging();
    let data_dir = DataDir::find(options.data_dir.as_deref())?;
    let path = data_dir.path();
    if Holder::find(path).context("cannot look for a running machine")?.is_some() {
        bail!("the machine in {} goes on without its main process; take it over with `windlass up`, and stop it", path.display());
    }
    ground::clear_up(path)?;
    if user_namespace::is_needed().context("cannot tell what this process may do")? {
        // Without one a file of another id may stay, and is named then.
        let _ = user_namespace::enter();
    }
    for name in KEPT {
        let path = path.join(name);
        remove(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    match fs::remove_dir(path) {
        // Something of somebody else's is in it.
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        removed => removed.with_context(|| format!("cannot remove {}", path.display())),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
