//! Container logs: files in the CRI log format, read as `kubectl logs` asks.

mod choose;
mod follow;
mod read;

use std::{ffi::OsString, path::Path};

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

/// Removes the log of a run, with the parts that were rotated away: `0.log`, `0.log.20261122-101112`.
pub(crate) async fn remove(log: &Path) {
    let (Some(directory), Some(name)) = (log.parent(), log.file_name()) else { return };
    let mut prefix = OsString::from(name);
    prefix.push(".");
    let Ok(mut entries) = tokio::fs::read_dir(directory).await else { return };
    while let Ok(Some(entry)) = entries.next_entry().await {
        let found = entry.file_name();
        let is_part = found.as_encoded_bytes().starts_with(prefix.as_encoded_bytes());
        if (found == name || is_part)
            && let Err(error) = tokio::fs::remove_file(entry.path()).await
        {
            tracing::warn!(%error, path = %entry.path().display(), "removing an old log");
        }
    }
}
