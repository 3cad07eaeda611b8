//! Blobs by digest on disk: written beside, verified, synced, renamed.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use reqwest::StatusCode;
use sha2::{Digest as _, Sha256};

use super::{
    registry::{Registry, RegistryError, cause},
    room::Room,
    store::Turns,
};
use crate::durable::write_atomically;

/// Attempts for one blob. Each goes on where the last one stopped, so five survive four cuts of one download.
const ATTEMPTS: u32 = 5;

/// Wait after the first failed attempt; doubled each time (200 ms + 400 + 800 + 1600 = 3 s in all).
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// Why content could not be fetched or kept.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// The registry failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The blob is longer than its descriptor says.
    #[error("blob {digest} is larger than the {size} bytes of its descriptor")]
    Size {
        /// Which.
        digest: String,
        /// The announced size.
        size: u64,
    },
    /// The digest is not SHA-256.
    #[error("unsupported digest {0:?}")]
    Digest(String),
    /// The disk failed.
    #[error("failed to write {path}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// `sha256:…` of some bytes.
pub(crate) fn digest_of(bytes: &[u8]) -> String {
    format_digest(Sha256::new_with_prefix(bytes))
}

/// `sha256:…` of what was fed to the hasher.
pub(crate) fn format_digest(hasher: Sha256) -> String {
    let mut text = String::with_capacity(71);
    text.push_str("sha256:");
    for byte in hasher.finalize() {
        text.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
        text.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
    }
    text
}

/// The 64 hexadecimal digits of a SHA-256 digest; anything else could name a path outside the store.
pub(crate) fn hex_of(digest: &str) -> Result<&str, ContentError> {
    let hex = digest.strip_prefix("sha256:").filter(|h| h.len() == 64 && h.bytes().all(|b| b.is_ascii_hexdigit()));
    hex.ok_or_else(|| ContentError::Digest(digest.to_owned()))
}

/// Blobs below one directory: `sha256/<hex>`, and `ingest/<hex>` for what is being fetched.
#[derive(Debug)]
pub(crate) struct Content {
    blobs: PathBuf,
    ingest: PathBuf,
}

impl Content {
    /// Opens the store; what an earlier process was fetching is thrown away.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        let (blobs, ingest) = (dir.join("blobs/sha256"), dir.join("ingest"));
        fs::create_dir_all(&blobs)?;
        match fs::remove_dir_all(&ingest) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::create_dir_all(&ingest)?,
        }
        Ok(Self { blobs, ingest })
    }

    /// Room for more blobs.
    pub(super) fn room(&self) -> Room {
        Room::below(&self.ingest)
    }

    pub(crate) fn path(&self, digest: &str) -> Result<PathBuf, ContentError> {
        Ok(self.blobs.join(hex_of(digest)?))
    }

    /// A file for what is not yet a blob; removed at the next start if it stays.
    pub(crate) fn scratch(&self, name: &str) -> PathBuf {
        self.ingest.join(name)
    }

    pub(crate) fn put(&self, digest: &str, bytes: &[u8]) -> Result<(), ContentError> {
        let path = self.path(digest)?;
        write_atomically(&path, bytes).map_err(|source| ContentError::Io { path, source })
    }

    /// Removes every blob that `keep` does not want.
    pub(crate) fn retain(&self, keep: impl Fn(&str) -> bool) -> io::Result<()> {
        for entry in fs::read_dir(&self.blobs)? {
            let entry = entry?;
            if !keep(&format!("sha256:{}", entry.file_name().to_string_lossy())) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// As [`Content::fetch`]; two that want the same blob fetch it once.
    pub(crate) async fn fetch_once(
        &self,
        turns: &Turns,
        registry: &Registry,
        digest: &str,
        size: u64,
    ) -> Result<PathBuf, ContentError> {
        let _turn = turns.take(digest).await;
        self.fetch(registry, digest, size).await
    }

    /// Fetches a blob into the store, going on after a cut connection; the digest is verified.
    pub(crate) async fn fetch(&self, registry: &Registry, digest: &str, size: u64) -> Result<PathBuf, ContentError> {
        let path = self.path(digest)?;
        if path.exists() {
            return Ok(path);
        }
        let partial = self.ingest.join(hex_of(digest)?);
        let io = |source| ContentError::Io { path: partial.clone(), source };
        let mut ingest =
            Ingest { file: File::create(&partial).map_err(io)?, hasher: Sha256::new(), written: 0, room: self.room() };
        let mut wait = FIRST_WAIT;
        for attempt in 1.. {
            match ingest.receive(registry, digest, size, &partial).await {
                Ok(()) => break,
                Err(ContentError::Registry(error)) if error.is_transient() && attempt < ATTEMPTS => {
                    tracing::debug!(digest, attempt, %error, "blob interrupted, going on");
                    tokio::time::sleep(wait).await;
                    wait *= 2;
                }
                Err(error) => {
                    let _ = fs::remove_file(&partial);
                    return Err(error);
                }
            }
        }
        let actual = format_digest(ingest.hasher);
        if actual != digest {
            let _ = fs::remove_file(&partial);
            return Err(RegistryError::Digest { actual, expected: digest.to_owned() }.into());
        }
        fs::rename(&partial, &path).map_err(|source| ContentError::Io { path: path.clone(), source })?;
        Ok(path)
    }
}

/// A blob on its way in.
struct Ingest {
    file: File,
    hasher: Sha256,
    written: u64,
    room: Room,
}

impl Ingest {
    /// Takes the rest of the blob; on an error, what came so far is kept for the next attempt.
    async fn receive(&mut self, registry: &Registry, digest: &str, size: u64, path: &Path) -> Result<(), ContentError> {
        let io = |source| ContentError::Io { path: path.to_owned(), source };
        if self.written == size && size > 0 {
            return Ok(());
        }
        let (mut response, url) = registry.blob(digest, self.written).await?;
        if self.written > 0 && response.status() != StatusCode::PARTIAL_CONTENT {
            self.file = File::create(path).map_err(io)?;
            self.hasher = Sha256::new();
            self.written = 0;
        }
        let failed = |cause: String| RegistryError::Request { method: "Get", url: url.to_string(), cause };
        while let Some(chunk) = response.chunk().await.map_err(|e| failed(cause(&e, &url)))? {
            self.written += chunk.len() as u64;
            if self.written > size {
                return Err(ContentError::Size { digest: digest.to_owned(), size });
            }
            self.room.take(chunk.len() as u64).map_err(io)?;
            self.hasher.update(&chunk);
            // A chunk is at most a few hundred kilobytes into the page cache: not worth a thread change.
            self.file.write_all(&chunk).map_err(io)?;
        }
        if self.written < size {
            return Err(failed("unexpected EOF".to_owned()).into());
        }
        Ok(())
    }
}
