//! A log as a stream of bytes, that goes on while the container writes when that is asked for.

use std::{
    io,
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use futures::stream::{self, Stream};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::unix::AsyncFd;

use super::{
    Query,
    read::{Filter, LineReader},
};

/// Bytes of one piece of the stream, about.
const PIECE: usize = 32 * 1024;

/// The log at `path`. With `follow`, it goes on until `ended` says that the container writes no more, and all it wrote was read.
///
/// # Errors
/// When the log cannot be opened.
pub(crate) async fn stream<E>(path: PathBuf, query: Query, ended: E) -> io::Result<impl Stream<Item = io::Result<Bytes>> + Send>
where
    E: Future<Output = ()> + Send + 'static,
{
    // Before the file is read: what is written in between is seen by one or the other.
    let changes = if query.follow { Some(Changes::of(&path)?) } else { None };
    let reader = LineReader::open(&path, query.tail_lines).await?;
    let follower = Follower { path, reader, filter: Filter::new(query), changes, ended: Some(Box::pin(ended)) };
    Ok(stream::try_unfold(follower, |mut follower| async move { Ok(follower.next().await?.map(|piece| (piece, follower))) }))
}

struct Follower<E> {
    path: PathBuf,
    reader: LineReader,
    filter: Filter,
    changes: Option<Changes>,
    /// `None` once the container has ended: then the end of the file is the end.
    ended: Option<std::pin::Pin<Box<E>>>,
}

impl<E: Future<Output = ()> + Send> Follower<E> {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let mut out = Vec::new();
        loop {
            while out.len() < PIECE {
                if self.filter.is_full() || !self.reader.read(&mut self.filter, &mut out).await? {
                    break;
                }
            }
            if !out.is_empty() {
                return Ok(Some(out.into()));
            }
            if self.filter.is_full() {
                return Ok(None);
            }
            if let Some(next) = self.next_file().await? {
                // What the writer added between the last read and the renaming is still to come.
                while self.reader.read(&mut self.filter, &mut out).await? {}
                self.reader = LineReader::open(&next, None).await?;
                continue;
            }
            let (Some(changes), Some(ended)) = (&mut self.changes, &mut self.ended) else { return Ok(None) };
            tokio::select! {
                changed = changes.next() => changed?,
                () = ended => self.ended = None,
            }
        }
    }

    /// The file that came after the one being read, once that has been renamed away. It is not always the one that has the name now:
    /// a writer that is faster than the reader may have filled others in between.
    async fn next_file(&mut self) -> io::Result<Option<PathBuf>> {
        let open = self.reader.file().metadata().await?;
        let is_open =
            |path: &Path| std::fs::metadata(path).is_ok_and(|found| (found.dev(), found.ino()) == (open.dev(), open.ino()));
        if !self.path.exists() || is_open(&self.path) {
            return Ok(None);
        }
        let mut parts = super::rotated(&self.path).await?;
        parts.push(self.path.clone());
        // A file that is gone was older than all that are left.
        let read = parts.iter().position(|path| is_open(path)).map_or(0, |index| index + 1);
        Ok(parts.into_iter().nth(read))
    }
}

/// Changes in the directory of a log: writes, and a new file of the name.
struct Changes {
    inotify: AsyncFd<OwnedFd>,
}

impl Changes {
    fn of(path: &Path) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let flags = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
        inotify.add_watch(path.parent().unwrap_or(path), flags)?;
        #[expect(deprecated, reason = "what replaces it is unsafe; an OwnedFd stays open for as long as it is registered")]
        let inotify = AsyncFd::new(inotify.into())?;
        Ok(Self { inotify })
    }

    /// Waits until something changed. Which file it was does not matter: reading on finds out.
    async fn next(&mut self) -> io::Result<()> {
        let mut events = [0; 4096];
        loop {
            let mut ready = self.inotify.readable().await?;
            let read = ready.try_io(|inotify| nix::unistd::read(inotify.get_ref(), &mut events).map_err(io::Error::from));
            if let Ok(read) = read {
                return read.map(drop);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::OpenOptions, io::Write};

    use futures::StreamExt;
    use tokio::sync::oneshot;

    use super::*;

    fn append(path: &Path, text: &str) {
        let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(file, "2026-01-01T00:00:01Z stdout F {text}").unwrap();
    }

    #[tokio::test]
    async fn goes_on_over_a_rotation_until_the_container_ends() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        append(&path, "one");
        let (end, ended) = oneshot::channel::<()>();
        let query = Query { follow: true, ..Query::default() };
        let mut log = Box::pin(stream(path.clone(), query, async { drop(ended.await) }).await.unwrap());
        assert_eq!(log.next().await.unwrap().unwrap(), "one\n");
        append(&path, "two");
        assert_eq!(log.next().await.unwrap().unwrap(), "two\n");
        std::fs::rename(&path, directory.path().join("0.log.1")).unwrap();
        append(&path, "three");
        assert_eq!(log.next().await.unwrap().unwrap(), "three\n");
        // Two parts are filled before the reader comes back, the first one after it was last read.
        append(&path, "four");
        std::fs::rename(&path, directory.path().join("0.log.2")).unwrap();
        append(&path, "five");
        std::fs::rename(&path, directory.path().join("0.log.3")).unwrap();
        append(&path, "six");
        let expected = "four\nfive\nsix\n";
        let mut read = String::new();
        while read.len() < expected.len() {
            read.push_str(std::str::from_utf8(&log.next().await.unwrap().unwrap()).unwrap());
        }
        assert_eq!(read, expected);
        append(&path, "last");
        end.send(()).unwrap();
        assert_eq!(log.next().await.unwrap().unwrap(), "last\n");
        assert!(log.next().await.is_none());
    }
}
