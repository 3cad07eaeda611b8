//! Unpacks a layer archive into a directory that overlayfs can use.

use std::{
    cell::Cell,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    rc::Rc,
};

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest as _, Sha256};

use super::{apply::Applier, content::format_digest, entry::Head};

/// Bounds on what one layer may unpack to, so that a few kilobytes from a hostile registry cannot fill the disk.
#[derive(Debug, Clone, Copy)]
pub struct LayerLimits {
    /// Bytes of the uncompressed archive, and of the files in it. Default 64 GiB: the largest public images (machine learning
    /// frameworks) stay below 20.
    pub bytes: u64,
    /// Entries. Default 2 million: a whole distribution with all its sources has fewer than one.
    pub entries: u64,
}

impl Default for LayerLimits {
    fn default() -> Self {
        Self { bytes: 64 << 30, entries: 2_000_000 }
    }
}

/// Headers, long names and extended attributes of one entry; the archive reader keeps them in memory.
/// Linux allows 64 KiB of attributes and 4 KiB of path.
const HEAD_BYTES: u64 = 1 << 20;

/// Why a layer could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The archive is damaged, or the disk failed under the reader.
    #[error("failed to read layer archive")]
    Read(#[source] io::Error),
    /// An entry that cannot be meant honestly.
    #[error("invalid tar entry {path:?}: {why}")]
    Entry {
        /// Path as the archive has it.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// An entry could not be made on disk.
    #[error("failed to create {path:?}")]
    Create {
        /// Path in the layer.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// More than [`LayerLimits`] allows.
    #[error("layer has more than {limit} {what}")]
    Limit {
        /// `bytes` or `entries`.
        what: &'static str,
        /// How many are allowed.
        limit: u64,
    },
    /// The archive is not the one that the image's configuration names.
    #[error("wrong diff id {actual} of the layer, expected {expected}")]
    DiffId {
        /// Of the archive.
        actual: String,
        /// Of the configuration.
        expected: String,
    },
}

/// Unpacks the blob at `blob` into the directory `target`, which exists and is empty.
///
/// `lowers` are the directories of the layers below, the uppermost first: for hard links into them, and for the owner and
/// mode of directories that this layer does not name itself.
pub(crate) fn unpack(
    blob: &Path,
    diff_id: &str,
    target: &Path,
    lowers: &[PathBuf],
    limits: LayerLimits,
) -> Result<(), LayerError> {
    let file = BufReader::with_capacity(256 << 10, File::open(blob).map_err(LayerError::Read)?);
    let head_budget = Rc::new(Cell::new(None));
    let inflated = inflate(file).map_err(LayerError::Read)?;
    let reader = Measured { inner: inflated, hasher: Sha256::new(), left: limits.bytes, head_budget: Rc::clone(&head_budget) };
    let mut archive = tar::Archive::new(reader);
    let mut applier = Applier::open(target, lowers, limits.bytes)?;
    let limited = |error: io::Error| match error.get_ref().and_then(|e| e.downcast_ref::<OverLimit>()) {
        Some(OverLimit) => LayerError::Limit { what: "bytes", limit: limits.bytes },
        None => LayerError::Read(error),
    };
    let mut entries = archive.entries().map_err(LayerError::Read)?;
    let mut count = 0;
    loop {
        head_budget.set(Some(HEAD_BYTES));
        let next = entries.next();
        head_budget.set(None);
        let Some(entry) = next else { break };
        let mut entry = entry.map_err(limited)?;
        count += 1;
        if count > limits.entries {
            return Err(LayerError::Limit { what: "entries", limit: limits.entries });
        }
        let head = Head::read(&mut entry)?;
        applier.apply(&head, &mut entry)?;
        // So that the budget for the next head is not spent on the rest of this body.
        io::copy(&mut entry, &mut io::sink()).map_err(limited)?;
    }
    applier.finish()?;
    let mut reader = archive.into_inner();
    io::copy(&mut reader, &mut io::sink()).map_err(limited)?;
    let actual = format_digest(reader.hasher);
    if actual != diff_id {
        return Err(LayerError::DiffId { actual, expected: diff_id.to_owned() });
    }
    Ok(())
}

/// Recognises the compression by its first bytes, as media types are often wrong.
fn inflate(mut file: BufReader<File>) -> io::Result<Box<dyn Read>> {
    let start = file.fill_buf()?;
    if start.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(BufReader::with_capacity(256 << 10, MultiGzDecoder::new(file))));
    }
    // Zstandard's magic number, or one of its skippable frames.
    let skippable = start.len() >= 4 && start[0] & 0xf0 == 0x50 && start[1..4] == [0x2a, 0x4d, 0x18];
    if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) || skippable {
        return Ok(Box::new(zstd::stream::read::Decoder::with_buffer(file)?));
    }
    Ok(Box::new(file))
}

/// More bytes than the limit; travels through readers as an I/O error.
#[derive(Debug, thiserror::Error)]
#[error("too many bytes")]
pub(super) struct OverLimit;

/// Counts and hashes what passes.
struct Measured<R> {
    inner: R,
    hasher: Sha256,
    left: u64,
    /// Bytes that may still be read before the next entry is known; `None` while in an entry.
    head_budget: Rc<Cell<Option<u64>>>,
}

impl<R: Read> Read for Measured<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        let over = || io::Error::other(OverLimit);
        self.left = self.left.checked_sub(read as u64).ok_or_else(over)?;
        if let Some(budget) = self.head_budget.get() {
            let left = budget.checked_sub(read as u64);
            self.head_budget.set(Some(left.ok_or_else(|| io::Error::other("entry with more than 1 MiB of metadata"))?));
        }
        Ok(read)
    }
}
