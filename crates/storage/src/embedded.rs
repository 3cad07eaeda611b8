//! The home on disk: one writer thread with group commit, everything readable in memory.
//!
//! While one commit waits for the disk, the writes that arrive form the next one; so a lone writer pays one flush a write, and
//! sixty-four writers pay one flush for all. A write is visible, to its writer and to everyone, only after it is durable.

use std::{
    collections::HashMap,
    fs, io,
    path::Path,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use async_trait::async_trait;
use tokio::sync::{Semaphore, oneshot};

use crate::{
    Change, Entry, Error, Expect, Page, Range, Revision, Store, Watch,
    disk::{Contents, Disk, Record},
    expiry::Expiries,
    history::{History, Staged},
    memory::system_clock_ms,
};

/// Writes in one commit: at 3 KiB each they fill 1.5 MiB, which a disk takes in one go.
const BATCH: usize = 512;

/// Writes that may wait for their commit; further writers wait for a place.
const QUEUE: usize = 4096;

/// How long the writer sleeps when nothing ends by itself sooner.
const IDLE: Duration = Duration::from_secs(60);

/// Name of the file below the directory of the store.
const FILE: &str = "store.redb";

type Reply = oneshot::Sender<Result<Entry, Error>>;

/// One write on its way to the writer thread.
#[derive(Debug)]
struct Request {
    key: String,
    expect: Expect,
    change: Change,
    reply: Option<Reply>,
}

/// A store in one file. Dropping it waits for the queued writes and closes the file.
#[derive(Debug)]
pub struct Embedded {
    history: Arc<History>,
    /// `None` only while being dropped: the writer thread ends when nobody can send any more.
    requests: Option<mpsc::Sender<Request>>,
    writer: Option<thread::JoinHandle<()>>,
    places: Arc<Semaphore>,
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has already failed every request; there is nobody left to tell.
            let _ = writer.join();
        }
    }
}

impl Embedded {
    /// Opens the store below a directory, or makes it.
    ///
    /// # Errors
    /// [`Error::InUse`] when another process has it open, [`Error::Damaged`] for a file that cannot be read,
    /// [`Error::NoSpace`] and [`Error::Io`] as the disk says.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        fs::create_dir_all(dir).map_err(Error::Io)?;
        let (disk, contents) = Disk::open(&dir.join(FILE))?;
        let mut expiries = Expiries::default();
        add_endings(&mut expiries, &contents);
        let history = History::new(contents.entries, contents.newest);
        let (requests, queue) = mpsc::channel();
        let writer = Writer { disk, history: history.clone(), expiries, queue, in_doubt: Vec::new() };
        let writer = thread::Builder::new().name("store".to_owned()).spawn(move || writer.run()).map_err(Error::Io)?;
        Ok(Self { history, requests: Some(requests), writer: Some(writer), places: Arc::new(Semaphore::new(QUEUE)) })
    }
}

fn add_endings(expiries: &mut Expiries, contents: &Contents) {
    for (at_ms, key) in &contents.endings {
        if let Some(entry) = contents.entries.get(key) {
            expiries.add(*at_ms, entry);
        }
    }
}

#[async_trait]
impl Store for Embedded {
    async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        Ok(self.history.get(key))
    }

    async fn list(&self, range: Range) -> Result<Page, Error> {
        self.history.list(&range)
    }

    async fn write(&self, key: &str, expect: Expect, change: Change) -> Result<Entry, Error> {
        let gone = || Error::Io(io::Error::other("the writer thread has ended"));
        let _place = self.places.acquire().await.map_err(|_| gone())?;
        let (reply, answer) = oneshot::channel();
        let request = Request { key: key.to_owned(), expect, change, reply: Some(reply) };
        self.requests.as_ref().ok_or_else(gone)?.send(request).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, Error> {
        self.history.watch(prefix, after)
    }

    async fn compact(&self, before: Revision) -> Result<(), Error> {
        self.history.compact(before);
        Ok(())
    }

    async fn revision(&self) -> Result<Revision, Error> {
        Ok(self.history.newest())
    }
}

/// The one thread that writes.
#[derive(Debug)]
struct Writer {
    disk: Disk,
    history: Arc<History>,
    expiries: Expiries,
    queue: mpsc::Receiver<Request>,
    /// The writes of a commit that failed: on the disk all of them, or none.
    in_doubt: Vec<Staged>,
}

/// Writes of one commit: those that will take place, and what to answer once it is durable.
#[derive(Debug, Default)]
struct Batch {
    staged: Vec<Staged>,
    ends_at_ms: Vec<u64>,
    /// Entries as the staged writes leave them; `None` for a deleted key.
    overlay: HashMap<String, Option<Entry>>,
    /// With the index of the staged write, or the error.
    replies: Vec<(Reply, Result<usize, Error>)>,
}

impl Writer {
    fn run(mut self) {
        while let Some(requests) = self.collect() {
            let batch = self.stage(requests);
            self.commit(batch);
        }
    }

    /// Waits for writes and takes those that are there; `None` when nobody can write any more.
    fn collect(&mut self) -> Option<Vec<Request>> {
        let now_ms = system_clock_ms();
        let mut requests: Vec<Request> = self
            .expiries
            .due(now_ms, BATCH)
            .into_iter()
            .map(|(key, revision)| Request {
                key: key.to_string(),
                expect: Expect::Revision(revision),
                change: Change::Delete,
                reply: None,
            })
            .collect();
        if requests.is_empty() {
            let sleep =
                self.expiries.next_ms().map_or(IDLE, |at_ms| Duration::from_millis(at_ms.saturating_sub(now_ms)).min(IDLE));
            match self.queue.recv_timeout(sleep) {
                Ok(request) => requests.push(request),
                Err(mpsc::RecvTimeoutError::Timeout) => return Some(requests),
                Err(mpsc::RecvTimeoutError::Disconnected) => return None,
            }
        }
        requests.extend(self.queue.try_iter().take(BATCH.saturating_sub(requests.len())));
        Some(requests)
    }

    fn stage(&self, requests: Vec<Request>) -> Batch {
        let mut batch = Batch::default();
        let newest = self.history.newest();
        let now_ms = system_clock_ms();
        for Request { key, expect, change, reply } in requests {
            let current = batch.overlay.get(&key).cloned().unwrap_or_else(|| self.history.get(&key));
            let revision = newest + 1 + batch.staged.len() as Revision;
            let outcome = History::stage(&key, expect, &change, current.as_ref(), revision).map(|staged| {
                let entry = (!staged.event.deleted).then(|| staged.event.entry.clone());
                batch.overlay.insert(key, entry);
                batch.ends_at_ms.push(ends_at_ms(&change, now_ms));
                batch.staged.push(staged);
                batch.staged.len() - 1
            });
            // Even a conflict is answered after the commit: the entry it conflicts with may be part of it.
            batch.replies.extend(reply.map(|reply| (reply, outcome)));
        }
        batch
    }

    fn commit(&mut self, batch: Batch) {
        let durable = if batch.staged.is_empty() { Ok(()) } else { self.make_durable(&batch) };
        if let Err(error) = durable {
            tracing::error!(%error, writes = batch.staged.len(), "the store could not write");
            for (reply, outcome) in batch.replies {
                let _ = reply.send(outcome.and_then(|_| Err(error.same())));
            }
            return;
        }
        for (staged, at_ms) in batch.staged.iter().zip(&batch.ends_at_ms) {
            if *at_ms != 0 {
                self.expiries.add(*at_ms, &staged.event.entry);
            }
        }
        let written: Vec<Entry> = batch.staged.iter().map(|staged| staged.event.entry.clone()).collect();
        if !batch.staged.is_empty() {
            self.history.publish(batch.staged);
        }
        for (reply, outcome) in batch.replies {
            // A writer that no longer waits has its write all the same.
            let _ = reply.send(outcome.map(|index| written[index].clone()));
        }
    }

    fn make_durable(&mut self, batch: &Batch) -> Result<(), Error> {
        if !self.disk.is_open() {
            self.reopen()?;
        }
        let records: Vec<Record<'_>> = batch
            .staged
            .iter()
            .zip(&batch.ends_at_ms)
            .map(|(staged, ends_at_ms)| Record {
                entry: &staged.event.entry,
                ends_at_ms: *ends_at_ms,
                deleted: staged.event.deleted,
            })
            .collect();
        let newest = batch.staged.last().map_or(0, |staged| staged.event.revision);
        self.disk.commit(&records, newest).inspect_err(|_| self.in_doubt.clone_from(&batch.staged))
    }

    /// Opens the file again after a failed commit, which may have reached the disk all the same: then it becomes visible now, and
    /// the batch that was staged without it has to be made anew by its writers.
    fn reopen(&mut self) -> Result<(), Error> {
        let contents = self.disk.reopen()?;
        let in_doubt = std::mem::take(&mut self.in_doubt);
        let last = in_doubt.last().map_or(0, |staged| staged.event.revision);
        if contents.newest == self.history.newest() {
            return Ok(());
        }
        if contents.newest != last {
            return Err(Error::Damaged(format!("it is at revision {} where {last} was expected", contents.newest)));
        }
        add_endings(&mut self.expiries, &contents);
        self.history.publish(in_doubt);
        Err(Error::Io(io::Error::other("an earlier write turned out to be durable; read again")))
    }
}

/// 0: never.
fn ends_at_ms(change: &Change, now_ms: u64) -> u64 {
    match change {
        Change::Put(_, Some(ttl)) => now_ms.saturating_add(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)),
        _ => 0,
    }
}
