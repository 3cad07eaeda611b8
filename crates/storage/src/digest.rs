//! One number for everything that a store holds, kept up to date with each row that comes or goes.
//!
//! It is the sum of the checksums of all rows, so the order of writes does not matter and a row is exchanged without reading the
//! others. A row that a disk spoiled, lost or brought back makes another sum.

use crate::{Revision, disk::Row};

/// The sum. Chance leaves one damage in 2^32 unseen: rows are hashed to 32 bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Digest(u64);

impl Digest {
    /// As the file keeps it.
    pub(crate) fn to_fact(self) -> u64 {
        self.0
    }

    pub(crate) fn from_fact(fact: u64) -> Self {
        Self(fact)
    }

    pub(crate) fn add(&mut self, key: &str, row: Row<'_>) {
        self.0 = self.0.wrapping_add(checksum(key, row));
    }

    pub(crate) fn remove(&mut self, key: &str, row: Row<'_>) {
        self.0 = self.0.wrapping_sub(checksum(key, row));
    }

    /// The newest revision counts like a row.
    pub(crate) fn replace_newest(&mut self, before: Revision, after: Revision) {
        self.0 = self.0.wrapping_sub(hash([&before.to_le_bytes()[..]])).wrapping_add(hash([&after.to_le_bytes()[..]]));
    }
}

fn checksum(key: &str, (create_revision, mod_revision, ends_at_ms, value): Row<'_>) -> u64 {
    let numbers = [create_revision, mod_revision, ends_at_ms, key.len() as u64].map(u64::to_le_bytes);
    hash([numbers.as_flattened(), key.as_bytes(), value])
}

/// Never 0, so that an empty row counts too.
fn hash<const N: usize>(parts: [&[u8]; N]) -> u64 {
    let mut hasher = crc32fast::Hasher::new();
    parts.iter().for_each(|part| hasher.update(part));
    u64::from(hasher.finalize()) + 1
}
