//! Room on the disk that a pull leaves to others.

use std::{
    io,
    path::{Path, PathBuf},
};

use nix::sys::statvfs::statvfs;

/// A pull leaves a twentieth of the disk free: what the machine itself keeps is on the same disk, and must go on being written.
const KEPT_PART: u64 = 20;
/// More than this is kept of no disk: it is hours of writes of a busy store.
const KEPT_BYTES: u64 = 256 << 20;
/// The disk is asked again after so many bytes: few enough for a small disk's twentieth, and nothing beside writing them.
const STEP_BYTES: u64 = 1 << 20;

/// Counts what is written below a directory.
#[derive(Debug)]
pub(super) struct Room {
    dir: PathBuf,
    since_asked: u64,
}

impl Room {
    pub(super) fn below(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), since_asked: 0 }
    }

    /// Bytes that may still be written.
    pub(super) fn left(&self) -> io::Result<u64> {
        let stat = statvfs(&self.dir)?;
        let block = stat.fragment_size();
        Ok(left(stat.blocks() * block, stat.blocks_available() * block))
    }

    /// Says that so many bytes are about to be written.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`] when there is no room for them.
    pub(super) fn take(&mut self, bytes: u64) -> io::Result<()> {
        self.since_asked += bytes;
        if self.since_asked < STEP_BYTES {
            return Ok(());
        }
        if self.left()? < self.since_asked {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "no space left on device"));
        }
        self.since_asked = 0;
        Ok(())
    }
}

fn left(total: u64, available: u64) -> u64 {
    available.saturating_sub((total / KEPT_PART).min(KEPT_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_disk_stays_free() {
        assert_eq!(left(100 << 20, 50 << 20), 45 << 20);
        assert_eq!(left(100 << 20, 4 << 20), 0);
        assert_eq!(left(1 << 40, 1 << 30), (1 << 30) - (256 << 20));
    }

    #[test]
    fn the_disk_is_asked_once_in_a_while() {
        let mut room = Room::below(Path::new("/nowhere/at/all"));
        room.take(STEP_BYTES - 1).unwrap();
        assert_eq!(room.take(1).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
