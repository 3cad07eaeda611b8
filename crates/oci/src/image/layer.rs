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

use super::{apply::Applier, content::format_digest, entry::Head, room::Room};

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
    let reader = Measured {
        inner: inflated,
        hasher: Sha256::new(),
        left: limits.bytes,
        head_budget: Rc::clone(&head_budget),
        room: Room::below(target),
    };
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
    /// For what is unpacked, which is about as much as what is read.
    room: Room,
}

impl<R: Read> Read for Measured<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        self.room.take(read as u64)?;
        let over = || io::Error::other(OverLimit);
        self.left = self.left.checked_sub(read as u64).ok_or_else(over)?;
        if let Some(budget) = self.head_budget.get() {
            let left = budget.checked_sub(read as u64);
            self.head_budget.set(Some(left.ok_or_else(|| io::Error::other("entry with more than 1 MiB of metadata"))?));
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _};

    use proptest::prelude::*;

    use super::*;
    use crate::image::content::digest_of;

    /// An archive with one entry of each kind, links that lead out of it among them.
    fn archive() -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        let mut add = |kind: tar::EntryType, path: &str, link: &str, content: &str| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(0o755);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            header.set_size(content.len() as u64);
            if link.is_empty() {
                archive.append_data(&mut header, path, content.as_bytes()).unwrap();
            } else {
                archive.append_link(&mut header, path, link).unwrap();
            }
        };
        add(tar::EntryType::Directory, "dir", "", "");
        add(tar::EntryType::Regular, "dir/file", "", "content");
        add(tar::EntryType::Symlink, "out", "../../../outside", "");
        add(tar::EntryType::Regular, "out/in", "", "kept inside");
        add(tar::EntryType::Link, "again", "dir/file", "");
        add(tar::EntryType::Regular, "dir/.wh.file", "", "");
        add(tar::EntryType::Regular, "dir/.wh..wh..opq", "", "");
        add(tar::EntryType::Fifo, "fifo", "", "");
        add(tar::EntryType::Regular, &"long/".repeat(30), "", "");
        archive.into_inner().unwrap()
    }

    fn unpack_bytes(bytes: &[u8]) -> (tempfile::TempDir, Result<(), LayerError>) {
        let dir = tempfile::tempdir().unwrap();
        let (blob, target) = (dir.path().join("blob"), dir.path().join("a/b/target"));
        fs::write(&blob, bytes).unwrap();
        fs::create_dir_all(&target).unwrap();
        let result = unpack(&blob, &digest_of(bytes), &target, &[], LayerLimits { bytes: 1 << 20, entries: 1000 });
        (dir, result)
    }

    #[test]
    fn metadata_without_end_is_refused_before_it_fills_the_memory() {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::GNULongName);
        header.set_size(64 << 20);
        header.set_cksum();
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.write_all(header.as_bytes()).unwrap();
        encoder.write_all(&vec![b'a'; 64 << 20]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let blob = dir.path().join("blob");
        fs::write(&blob, encoder.finish().unwrap()).unwrap();
        let error = unpack(&blob, "", dir.path(), &[], LayerLimits::default()).unwrap_err();
        assert_eq!(crate::error::chain(&error), "failed to read layer archive: entry with more than 1 MiB of metadata");
    }

    #[test]
    fn an_archive_that_is_not_the_configured_one_is_refused() {
        let (_dir, result) = unpack_bytes(&archive());
        result.unwrap();
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("blob"), archive()).unwrap();
        let target = dir.path().join("target");
        fs::create_dir(&target).unwrap();
        let result = unpack(&dir.path().join("blob"), "sha256:0", &target, &[], LayerLimits::default());
        assert!(matches!(result, Err(LayerError::DiffId { .. })));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        /// Damaged at random, with the checksums of headers made right again: never a panic, never a file outside.
        #[test]
        fn damaged_archives_stay_inside(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12)) {
            let mut bytes = archive();
            for (at, value) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *value;
                let block = at / 512 * 512;
                let mut header = tar::Header::from_byte_slice(&bytes[block..block + 512]).clone();
                header.set_cksum();
                bytes[block..block + 512].copy_from_slice(header.as_bytes());
            }
            let (dir, _) = unpack_bytes(&bytes);
            let names = |path: PathBuf| fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name()).collect::<Vec<_>>();
            prop_assert_eq!(names(dir.path().join("a/b")), vec!["target"]);
            prop_assert_eq!(names(dir.path().join("a")), vec!["b"]);
            prop_assert_eq!(names(dir.path().to_owned()).len(), 2);
        }
    }
}
