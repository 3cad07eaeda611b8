//! A container's output in the CRI's log format, rotated.
//!
//! <https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md>

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use jiff::Timestamp;

/// Longer lines are split into partial ones, as containerd does.
const LINE_BYTES: usize = 16 << 10;

/// The kubelet's default for `containerLogMaxSize`.
const FILE_BYTES: u64 = 10 << 20;

/// The kubelet's default for `containerLogMaxFiles`, the current one included.
const FILES: usize = 5;

/// One of the two streams.
#[derive(Debug)]
pub(crate) struct Stream {
    name: &'static str,
    /// A line whose end has not come yet; at most [`LINE_BYTES`].
    pending: Vec<u8>,
}

impl Stream {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, pending: Vec::new() }
    }

    /// Appends the complete lines of `bytes` to `out`, and keeps the rest.
    fn format(&mut self, mut bytes: &[u8], now: Timestamp, out: &mut Vec<u8>) {
        while !bytes.is_empty() {
            let room = LINE_BYTES - self.pending.len();
            match bytes.iter().take(room + 1).position(|byte| *byte == b'\n') {
                Some(end) => {
                    self.line(&bytes[..end], b'F', now, out);
                    bytes = &bytes[end + 1..];
                }
                None if bytes.len() > room => {
                    self.line(&bytes[..room], b'P', now, out);
                    bytes = &bytes[room..];
                }
                None => {
                    self.pending.extend_from_slice(bytes);
                    return;
                }
            }
        }
    }

    fn line(&mut self, rest: &[u8], tag: u8, now: Timestamp, out: &mut Vec<u8>) {
        // Nine digits always: readers compare lines as text.
        let _ = write!(out, "{now:.9} {} {} ", self.name, char::from(tag));
        out.append(&mut self.pending);
        out.extend_from_slice(rest);
        out.push(b'\n');
    }

    /// A last line without an end.
    fn flush(&mut self, now: Timestamp, out: &mut Vec<u8>) {
        if !self.pending.is_empty() {
            self.line(b"", b'P', now, out);
        }
    }
}

/// The log file of a container.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    file: Option<File>,
    bytes: u64,
    buffer: Vec<u8>,
}

impl Log {
    /// Opens the file; its directory is made when absent.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut log = Self { path: path.to_owned(), file: None, bytes: 0, buffer: Vec::new() };
        log.reopen()?;
        Ok(log)
    }

    /// Writes what a stream brought.
    pub(crate) fn write(&mut self, stream: &mut Stream, bytes: &[u8]) {
        stream.format(bytes, Timestamp::now(), &mut self.buffer);
        self.commit();
    }

    /// Writes the last line of a stream that has ended.
    pub(crate) fn finish(&mut self, stream: &mut Stream) {
        stream.flush(Timestamp::now(), &mut self.buffer);
        self.commit();
    }

    /// A full disk loses lines but never stops the container.
    fn commit(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        if self.file.is_none() {
            let _ = self.reopen();
        }
        if let Some(file) = &mut self.file
            && file.write_all(&self.buffer).is_ok()
        {
            self.bytes += self.buffer.len() as u64;
        }
        self.buffer.clear();
        if self.bytes >= FILE_BYTES {
            self.rotate();
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        let file = OpenOptions::new().append(true).create(true).open(&self.path)?;
        self.bytes = file.metadata()?.len();
        self.file = Some(file);
        Ok(())
    }

    /// Renames the file to `<path>.<time>`, as the kubelet does, and removes the oldest ones.
    fn rotate(&mut self) {
        let time = Timestamp::now().strftime("%Y%m%d-%H%M%S").to_string();
        let mut rotated = self.path.clone().into_os_string();
        rotated.push(format!(".{time}"));
        if Path::new(&rotated).exists() {
            // Twice within a second: names would clash, so the file grows a little longer.
            return;
        }
        if fs::rename(&self.path, &rotated).is_ok() {
            self.file = None;
            let _ = self.reopen();
        }
        let mut old = rotated_files(&self.path);
        old.sort();
        let surplus = old.len().saturating_sub(FILES - 1);
        old.iter().take(surplus).for_each(|path| drop(fs::remove_file(path)));
    }
}

/// The files that a log was rotated to, in no order.
fn rotated_files(path: &Path) -> Vec<PathBuf> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return Vec::new() };
    let prefix = format!("{}.", name.to_string_lossy());
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter(|e| e.file_name().to_string_lossy().starts_with(&prefix)).map(|e| e.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(chunks: &[&[u8]]) -> String {
        let (mut stream, mut out) = (Stream::new("stdout"), Vec::new());
        for chunk in chunks {
            stream.format(chunk, Timestamp::UNIX_EPOCH, &mut out);
        }
        stream.flush(Timestamp::UNIX_EPOCH, &mut out);
        String::from_utf8(out).unwrap().replace("1970-01-01T00:00:00.000000000Z stdout ", "")
    }

    #[test]
    fn lines_are_put_together_and_split() {
        assert_eq!(format(&[b"a\nb", b"c\n", b"\n", b"d"]), "F a\nF bc\nF \nP d\n");
        let long = vec![b'x'; LINE_BYTES + 3];
        let full = "x".repeat(LINE_BYTES);
        assert_eq!(format(&[&long, b"\n"]), format!("P {full}\nF xxx\n"));
        assert_eq!(format(&[&long[..LINE_BYTES], b"\n"]), format!("F {full}\n"));
        assert_eq!(format(&[&long[..LINE_BYTES], b"y\n"]), format!("P {full}\nF y\n"));
    }

    #[test]
    fn a_long_log_is_rotated_and_five_files_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        for i in 0..6 {
            fs::write(dir.path().join(format!("0.log.2020010{i}-000000")), "old").unwrap();
        }
        let (mut log, mut stream) = (Log::open(&path).unwrap(), Stream::new("stderr"));
        let mebibyte = vec![b'\n'; 1 << 20];
        while rotated_files(&path).len() == 6 {
            log.write(&mut stream, &mebibyte);
        }
        log.write(&mut stream, b"last\n");
        let rotated = rotated_files(&path);
        assert_eq!(rotated.len(), FILES - 1);
        assert!(fs::read_to_string(&path).unwrap().ends_with("stderr F last\n"));
        assert!(fs::metadata(&path).unwrap().len() < FILE_BYTES);
    }
}
