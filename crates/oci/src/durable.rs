//! Files that survive a crash.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

/// Writes a file so that a crash leaves the old one or the new one.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("tmp");
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}
