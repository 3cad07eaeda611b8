//! The directory that holds everything Windlass keeps, and the lock that keeps a second `up` out of it.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Seek as _, Write as _},
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

/// Locked by the process that uses the directory.
const LOCK: &str = "lock";

/// An open, locked data directory.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    /// Locked for as long as it is open; holds our process id, for the message that another `up` gives.
    lock: Flock<File>,
}

impl DataDir {
    /// Opens the directory asked for, or the default one, which a machine has been in.
    pub(crate) fn find(asked: Option<&Path>) -> Result<Self> {
        let path = asked.map_or_else(default_path, |path| Ok(path.to_owned()))?;
        ensure!(path.join(LOCK).exists(), "no machine has been in {}", path.display());
        Self::open(Some(&path))
    }

    /// Opens the directory asked for, or the default one, making it where it is missing.
    pub(crate) fn open(asked: Option<&Path>) -> Result<Self> {
        let path = asked.map_or_else(default_path, |path| Ok(path.to_owned()))?;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("cannot make the data directory {}; choose another with --data-dir", path.display()))?;
        let path = path.canonicalize().with_context(|| format!("cannot resolve the data directory {}", path.display()))?;
        let lock = lock(&path)?;
        Ok(Self { path, lock })
    }

    /// Goes on with a directory that the process before this one had locked.
    pub(crate) fn inherit(path: PathBuf, lock: File) -> Result<Self> {
        match Flock::lock(lock, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self { path, lock }),
            Err((_, errno)) => Err(errno).with_context(|| format!("cannot go on with the lock of {}", path.display())),
        }
    }

    /// What holds the lock, for whom it is handed to.
    pub(crate) fn lock(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn lock(dir: &Path) -> Result<Flock<File>> {
    let path = dir.join(LOCK);
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("cannot write to the data directory {}; choose another with --data-dir", dir.display()))?;
    let mut owner = String::new();
    // Who holds it is only for the message.
    let _ = file.read_to_string(&mut owner);
    let mut lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => lock,
        Err((_, Errno::EWOULDBLOCK)) => {
            let owner = owner.trim();
            bail!(
                "another windlass (process {owner}) uses {}; stop it, or choose another directory with --data-dir",
                dir.display()
            )
        }
        Err((_, errno)) => return Err(errno).with_context(|| format!("cannot lock {}", path.display())),
    };
    lock.set_len(0)?;
    lock.rewind()?;
    write!(lock, "{}", std::process::id()).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(lock)
}

fn default_path() -> Result<PathBuf> {
    if nix::unistd::geteuid().is_root() {
        return Ok("/var/lib/windlass".into());
    }
    let home = |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    home("XDG_DATA_HOME")
        .or_else(|| home("HOME").map(|home| home.join(".local/share")))
        .map(|share| share.join("windlass"))
        .context("neither XDG_DATA_HOME nor HOME is set; say where to keep data with --data-dir")
}
