//! The file behind the embedded store: the newest entry of every key, the newest revision, and a digest of both.

use std::{
    collections::BTreeMap,
    io,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use redb::{Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, TableDefinition};

use crate::{Entry, Error, Revision, digest::Digest};

/// Create revision, revision, time it ends in milliseconds since 1970 (0: never), value.
pub(crate) type Row<'a> = (u64, u64, u64, &'a [u8]);

/// One row a key.
const ENTRIES: TableDefinition<'_, &str, Row<'_>> = TableDefinition::new("entries");
/// The newest revision, which may be that of a delete, the layout of this file, and the digest of all rows.
const FACTS: TableDefinition<'_, &str, u64> = TableDefinition::new("facts");
const NEWEST: &str = "newest-revision";
const LAYOUT: &str = "layout";
const DIGEST: &str = "digest";
/// Raised when an older build could not read or would spoil the file.
const LAYOUT_NOW: u64 = 2;
/// The layout without a digest; it gets one when it is opened.
const LAYOUT_WITHOUT_DIGEST: u64 = 1;

/// Pages that redb keeps in memory. Reads never come here (the whole state is in memory), so this only has to hold the upper
/// part of the tree that a commit walks down.
const CACHE_BYTES: usize = 4 << 20;

/// What one commit changes.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    pub(crate) entry: &'a Entry,
    /// 0: never ends.
    pub(crate) ends_at_ms: u64,
    pub(crate) deleted: bool,
}

/// Everything the file holds.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) entries: BTreeMap<Arc<str>, Entry>,
    /// Keys that end by themselves.
    pub(crate) endings: Vec<(u64, Arc<str>)>,
    pub(crate) newest: Revision,
}

/// The open file.
#[derive(Debug)]
pub(crate) struct Disk {
    path: PathBuf,
    /// `None` after a failed write: redb refuses a file once a write to it failed, so it is opened anew.
    database: Option<Database>,
    /// Of all rows that are durable.
    digest: Digest,
}

impl Disk {
    pub(crate) fn open(path: &Path) -> Result<(Self, Contents), Error> {
        let mut disk = Self { path: path.to_owned(), database: None, digest: Digest::default() };
        let contents = disk.reopen()?;
        Ok((disk, contents))
    }

    /// Whether the file can be written to.
    pub(crate) fn is_open(&self) -> bool {
        self.database.is_some()
    }

    /// Opens the file (again) and reads all of it.
    pub(crate) fn reopen(&mut self) -> Result<Contents, Error> {
        self.database = None;
        // A damaged page can break an assumption of redb's instead of a checksum.
        let opened = panic::catch_unwind(AssertUnwindSafe(|| open(&self.path)));
        let (database, contents, digest) =
            opened.unwrap_or_else(|_| Err(Error::Damaged("its pages contradict each other".to_owned())))?;
        (self.database, self.digest) = (Some(database), digest);
        Ok(contents)
    }

    /// Makes the records durable, all or none.
    pub(crate) fn commit(&mut self, records: &[Record<'_>], newest: Revision) -> Result<(), Error> {
        let Some(database) = &self.database else {
            return Err(Error::Io(io::Error::other("the file is closed after a failed write")));
        };
        match commit(database, records, newest, self.digest) {
            Ok(digest) => self.digest = digest,
            Err(error) => {
                self.database = None;
                return Err(from_redb(error));
            }
        }
        Ok(())
    }
}

fn open(path: &Path) -> Result<(Database, Contents, Digest), Error> {
    let database = Database::builder().set_cache_size(CACHE_BYTES).create(path).map_err(from_database)?;
    let layout = make_tables(&database).map_err(from_redb)?;
    if ![LAYOUT_NOW, LAYOUT_WITHOUT_DIGEST].contains(&layout) {
        let text = format!("its layout is {layout}, this build reads {LAYOUT_NOW}; use the build that wrote it");
        return Err(Error::Damaged(text));
    }
    let (contents, digest, expected) = load(&database).map_err(from_redb)?;
    match expected {
        None => write_digest(&database, digest).map_err(from_redb)?,
        Some(expected) if expected == digest => {}
        Some(_) => return Err(Error::Damaged("what it holds is not what was written to it".to_owned())),
    }
    Ok((database, contents, digest))
}

/// Tables are made on the first opening, so that reading never meets an absent one. Returns the layout.
fn make_tables(database: &Database) -> Result<u64, redb::Error> {
    let write = database.begin_write()?;
    let layout = {
        write.open_table(ENTRIES)?;
        let mut facts = write.open_table(FACTS)?;
        let layout = facts.get(LAYOUT)?.map(|guard| guard.value());
        if layout.is_none() {
            facts.insert(LAYOUT, LAYOUT_NOW)?;
            facts.insert(DIGEST, Digest::default().to_fact())?;
        }
        layout.unwrap_or(LAYOUT_NOW)
    };
    write.commit()?;
    Ok(layout)
}

/// Contents, their digest, and the digest that they should have.
fn load(database: &Database) -> Result<(Contents, Digest, Option<Digest>), redb::Error> {
    let read = database.begin_read()?;
    let facts = read.open_table(FACTS)?;
    let expected = facts.get(DIGEST)?.map(|guard| Digest::from_fact(guard.value()));
    let newest = facts.get(NEWEST)?.map_or(0, |guard| guard.value());
    let mut contents = Contents { newest, ..Contents::default() };
    let mut digest = Digest::default();
    digest.replace_newest(0, newest);
    for row in read.open_table(ENTRIES)?.iter()? {
        let (key, row) = row?;
        digest.add(key.value(), row.value());
        let key: Arc<str> = Arc::from(key.value());
        let (create_revision, mod_revision, ends_at_ms, value) = row.value();
        if ends_at_ms != 0 {
            contents.endings.push((ends_at_ms, key.clone()));
        }
        let entry = Entry { key: key.clone(), value: Bytes::copy_from_slice(value), create_revision, mod_revision };
        contents.entries.insert(key, entry);
    }
    Ok((contents, digest, expected))
}

fn write_digest(database: &Database, digest: Digest) -> Result<(), redb::Error> {
    let write = database.begin_write()?;
    {
        let mut facts = write.open_table(FACTS)?;
        facts.insert(LAYOUT, LAYOUT_NOW)?;
        facts.insert(DIGEST, digest.to_fact())?;
    }
    write.commit()?;
    Ok(())
}

/// Writes the records; the digest after them.
fn commit(database: &Database, records: &[Record<'_>], newest: Revision, mut digest: Digest) -> Result<Digest, redb::Error> {
    let mut write = database.begin_write()?;
    // Without this, opening after a kill walks the whole file.
    write.set_quick_repair(true);
    {
        let mut entries = write.open_table(ENTRIES)?;
        for Record { entry, ends_at_ms, deleted } in records {
            let key = entry.key.as_ref();
            let row = (entry.create_revision, entry.mod_revision, *ends_at_ms, entry.value.as_ref());
            let before = if *deleted { entries.remove(key)? } else { entries.insert(key, row)? };
            if let Some(before) = before {
                digest.remove(key, before.value());
            }
            if !*deleted {
                digest.add(key, row);
            }
        }
        let mut facts = write.open_table(FACTS)?;
        let before = facts.insert(NEWEST, newest)?.map_or(0, |guard| guard.value());
        digest.replace_newest(before, newest);
        facts.insert(DIGEST, digest.to_fact())?;
    }
    write.commit()?;
    Ok(digest)
}

fn from_database(error: DatabaseError) -> Error {
    match error {
        DatabaseError::DatabaseAlreadyOpen => Error::InUse,
        other => from_redb(other.into()),
    }
}

fn from_redb(error: redb::Error) -> Error {
    match error {
        redb::Error::Io(source) => from_io(source),
        redb::Error::Corrupted(text) => Error::Damaged(text),
        redb::Error::UpgradeRequired(version) => Error::Damaged(format!("its file format {version} is too old")),
        other => Error::Io(io::Error::other(other)),
    }
}

fn from_io(source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::NoSpace,
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Error::Damaged(source.to_string()),
        _ => Error::Io(source),
    }
}
