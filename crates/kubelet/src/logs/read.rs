//! The CRI log format: `<RFC 3339 time> <stdout|stderr> <F|P> <text>`, P for a part of a longer line.

use std::{io, path::Path};

use jiff::Timestamp;
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt, SeekFrom},
};

use super::{Query, Stream};

/// Bytes read at once.
const BLOCK: u64 = 64 * 1024;

/// One line as it was written.
#[derive(Debug, PartialEq, Eq)]
struct Line<'a> {
    time: &'a str,
    stream: Stream,
    is_partial: bool,
    text: &'a [u8],
}

fn parse(line: &[u8]) -> Option<Line<'_>> {
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let time = std::str::from_utf8(parts.next()?).ok()?;
    let stream = match parts.next()? {
        b"stdout" => Stream::Stdout,
        b"stderr" => Stream::Stderr,
        _ => return None,
    };
    // Tags are separated by colons; only the first is defined.
    let is_partial = parts.next()?.split(|byte| *byte == b':').next() == Some(b"P");
    Some(Line { time, stream, is_partial, text: parts.next()? })
}

/// Turns lines of a log into what the query asks for, up to its limit of bytes.
#[derive(Debug)]
pub(super) struct Filter {
    query: Query,
    left: u64,
    /// The last line had no end, so the next one carries on and gets no time.
    is_continued: bool,
}

impl Filter {
    pub(super) fn new(query: Query) -> Self {
        Self { left: query.limit_bytes.unwrap_or(u64::MAX), query, is_continued: false }
    }

    /// Nothing more will come out.
    pub(super) fn is_full(&self) -> bool {
        self.left == 0
    }

    /// Adds one line (without its newline) to `out`, if it is wanted.
    pub(super) fn push(&mut self, line: &[u8], out: &mut Vec<u8>) {
        // What is not in the format was cut by a full disk or a crash: it has no text that could be trusted.
        let Some(line) = parse(line) else { return };
        if self.query.stream != Stream::All && self.query.stream != line.stream {
            return;
        }
        if let Some(since) = self.query.since
            && line.time.parse::<Timestamp>().is_ok_and(|time| time < since)
        {
            return;
        }
        let start = out.len();
        if self.query.timestamps && !self.is_continued {
            out.extend(line.time.as_bytes());
            out.push(b' ');
        }
        out.extend(line.text);
        if !line.is_partial {
            out.push(b'\n');
        }
        self.is_continued = line.is_partial;
        let added = u64::try_from(out.len() - start).unwrap_or(u64::MAX);
        if added > self.left {
            out.truncate(start + usize::try_from(self.left).unwrap_or(usize::MAX));
        }
        self.left -= added.min(self.left);
    }
}

/// Where the last `lines` lines of the file begin.
pub(super) async fn tail_start(file: &mut File, lines: u64) -> io::Result<u64> {
    let size = file.seek(SeekFrom::End(0)).await?;
    if lines == 0 {
        return Ok(size);
    }
    let mut end = size;
    let mut newlines = 0;
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        file.seek(SeekFrom::Start(start)).await?;
        let mut block = vec![0; usize::try_from(end - start).unwrap_or(0)];
        file.read_exact(&mut block).await?;
        for (index, _) in block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            let after = start + u64::try_from(index).unwrap_or(0) + 1;
            // The newline that ends the file begins no line.
            if after < size {
                newlines += 1;
            }
            if newlines == lines {
                return Ok(after);
            }
        }
        end = start;
    }
    Ok(0)
}

/// A log file that is read line by line as it grows.
#[derive(Debug)]
pub(super) struct LineReader {
    file: File,
    /// Read, but not yet a whole line.
    rest: Vec<u8>,
}

impl LineReader {
    /// Opens the log at the line that the query wants first.
    pub(super) async fn open(path: &Path, tail_lines: Option<u64>) -> io::Result<Self> {
        let mut file = File::open(path).await?;
        let start = match tail_lines {
            Some(lines) => tail_start(&mut file, lines).await?,
            None => 0,
        };
        file.seek(SeekFrom::Start(start)).await?;
        Ok(Self { file, rest: Vec::new() })
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Reads up to a block and passes on the lines in it; false at the end of the file.
    pub(super) async fn read(&mut self, filter: &mut Filter, out: &mut Vec<u8>) -> io::Result<bool> {
        let mut block = vec![0; usize::try_from(BLOCK).unwrap_or(0)];
        let length = self.file.read(&mut block).await?;
        self.rest.extend(&block[..length]);
        let mut begin = 0;
        while let Some(end) = self.rest[begin..].iter().position(|byte| *byte == b'\n') {
            filter.push(&self.rest[begin..begin + end], out);
            begin += end + 1;
            if filter.is_full() {
                return Ok(false);
            }
        }
        self.rest.drain(..begin);
        Ok(length > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "2026-01-01T00:00:01Z stdout F one\n\
                       2026-01-01T00:00:02Z stderr F two\n\
                       2026-01-01T00:00:03Z stdout P thr\n\
                       2026-01-01T00:00:03Z stdout F ee\n\
                       damaged\n\
                       2026-01-01T00:00:04Z stdout F \n";

    async fn check(query: Query) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        std::fs::write(&path, LOG).unwrap();
        let mut reader = LineReader::open(&path, query.tail_lines).await.unwrap();
        let (mut filter, mut out) = (Filter::new(query), Vec::new());
        while reader.read(&mut filter, &mut out).await.unwrap() {}
        String::from_utf8(out).unwrap()
    }

    #[tokio::test]
    async fn lines_as_asked_for() {
        let since = "2026-01-01T00:00:03Z".parse().ok();
        assert_eq!(check(Query::default()).await, "one\ntwo\nthree\n\n");
        assert_eq!(check(Query { stream: Stream::Stderr, ..Query::default() }).await, "two\n");
        assert_eq!(check(Query { since, ..Query::default() }).await, "three\n\n");
        assert_eq!(check(Query { tail_lines: Some(3), ..Query::default() }).await, "ee\n\n");
        assert_eq!(check(Query { tail_lines: Some(100), ..Query::default() }).await, "one\ntwo\nthree\n\n");
        assert_eq!(check(Query { tail_lines: Some(0), ..Query::default() }).await, "");
        assert_eq!(check(Query { limit_bytes: Some(6), ..Query::default() }).await, "one\ntw");
        assert_eq!(
            check(Query { timestamps: true, since, ..Query::default() }).await,
            "2026-01-01T00:00:03Z three\n2026-01-01T00:00:04Z \n"
        );
    }
}
