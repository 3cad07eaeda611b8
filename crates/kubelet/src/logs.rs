//! Container logs: files in the CRI log format, read as `kubectl logs` asks.

mod choose;
mod follow;
mod read;

use std::{
    io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

pub(crate) use self::{choose::choose, follow::stream};

/// Which streams of a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Stream {
    #[default]
    All,
    Stdout,
    Stderr,
}

/// What of a log is wanted, and how.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query {
    /// Go on as the container writes.
    pub(crate) follow: bool,
    /// Of the run before the newest.
    pub(crate) previous: bool,
    /// Each line with its time.
    pub(crate) timestamps: bool,
    /// Only what was written since.
    pub(crate) since: Option<Timestamp>,
    /// Only so many lines of the end.
    pub(crate) tail_lines: Option<u64>,
    /// No more bytes than that.
    pub(crate) limit_bytes: Option<u64>,
    pub(crate) stream: Stream,
}

/// Removes the log of a run, with the parts that were rotated away.
pub(crate) async fn remove(log: &Path) {
    let mut files = rotated(log).await.unwrap_or_default();
    files.push(log.to_owned());
    for path in files {
        match tokio::fs::remove_file(&path).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, path = %path.display(), "removing an old log")
            }
            _ => {}
        }
    }
}

/// The parts of a log that were rotated away, oldest first: `0.log.20261122-101112` of `0.log`.
async fn rotated(log: &Path) -> io::Result<Vec<PathBuf>> {
    let (Some(directory), Some(name)) = (log.parent(), log.file_name()) else { return Ok(Vec::new()) };
    let mut prefix = name.to_owned();
    prefix.push(".");
    let mut parts = Vec::new();
    let mut entries = tokio::fs::read_dir(directory).await?;
    while let Some(entry) = entries.next_entry().await? {
        if entry.file_name().as_encoded_bytes().starts_with(prefix.as_encoded_bytes()) {
            parts.push(entry.path());
        }
    }
    parts.sort();
    Ok(parts)
}
