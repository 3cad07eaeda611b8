//! The file behind the embedded store: the newest entry of every key, and the newest revision.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use redb::{Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, TableDefinition};

use crate::{Entry, Error, Revision};

/// Key → create revision, revision, time it ends in milliseconds since 1970 (0: never), value.
const ENTRIES: TableDefinition<'_, &str, (u64, u64, u64, &[u8])> = TableDefinition::new("entries");
/// The newest revision, which may be that of a delete, and the layout of this file.
const FACTS: TableDefinition<'_, &str, u64> = TableDefinition::new("facts");
const NEWEST: &str = "newest-revision";
const LAYOUT: &str = "layout";
/// Raised when an older build could not read the file any more.
const LAYOUT_NOW: u64 = 1;

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
}

impl Disk {
    pub(crate) fn open(path: &Path) -> Result<(Self, Contents), Error> {
        let mut disk = Self { path: path.to_owned(), database: None };
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
        let database = Database::builder().set_cache_size(CACHE_BYTES).create(&self.path).map_err(from_database)?;
        let contents = load(&database).map_err(from_redb)??;
        self.database = Some(database);
        Ok(contents)
    }

    /// Makes the records durable, all or none.
    pub(crate) fn commit(&mut self, records: &[Record<'_>], newest: Revision) -> Result<(), Error> {
        let Some(database) = &self.database else {
            return Err(Error::Io(io::Error::other("the file is closed after a failed write")));
        };
        let done = commit(database, records, newest).map_err(from_redb);
        if done.is_err() {
            self.database = None;
        }
        done
    }
}

fn load(database: &Database) -> Result<Result<Contents, Error>, redb::Error> {
    // Tables are made on the first opening, so that reading never meets an absent one.
    let write = database.begin_write()?;
    let layout = {
        write.open_table(ENTRIES)?;
        let mut facts = write.open_table(FACTS)?;
        let layout = facts.get(LAYOUT)?.map(|guard| guard.value());
        if layout.is_none() {
            facts.insert(LAYOUT, LAYOUT_NOW)?;
        }
        layout.unwrap_or(LAYOUT_NOW)
    };
    write.commit()?;
    if layout != LAYOUT_NOW {
        let text = format!("its layout is {layout}, this build reads {LAYOUT_NOW}; use the build that wrote it");
        return Ok(Err(Error::Damaged(text)));
    }
    let read = database.begin_read()?;
    let mut contents =
        Contents { newest: read.open_table(FACTS)?.get(NEWEST)?.map_or(0, |guard| guard.value()), ..Contents::default() };
    for row in read.open_table(ENTRIES)?.iter()? {
        let (key, value) = row?;
        let key: Arc<str> = Arc::from(key.value());
        let (create_revision, mod_revision, ends_at_ms, value) = value.value();
        if ends_at_ms != 0 {
            contents.endings.push((ends_at_ms, key.clone()));
        }
        let entry = Entry { key: key.clone(), value: Bytes::copy_from_slice(value), create_revision, mod_revision };
        contents.entries.insert(key, entry);
    }
    Ok(Ok(contents))
}

fn commit(database: &Database, records: &[Record<'_>], newest: Revision) -> Result<(), redb::Error> {
    let mut write = database.begin_write()?;
    // Without this, opening after a kill walks the whole file.
    write.set_quick_repair(true);
    {
        let mut entries = write.open_table(ENTRIES)?;
        for Record { entry, ends_at_ms, deleted } in records {
            if *deleted {
                entries.remove(entry.key.as_ref())?;
            } else {
                let row = (entry.create_revision, entry.mod_revision, *ends_at_ms, entry.value.as_ref());
                entries.insert(entry.key.as_ref(), row)?;
            }
        }
        write.open_table(FACTS)?.insert(NEWEST, newest)?;
    }
    write.commit()?;
    Ok(())
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
