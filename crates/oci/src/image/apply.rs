//! Carries out the entries of a layer archive, one after the other, inside one directory.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::{CString, OsStr},
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{AtFlags, OFlag, openat},
    sys::{
        stat::{FileStat, Mode, SFlag, UtimensatFlags, fchmod, futimens, mkdirat, mknodat, utimensat},
        time::TimeSpec,
    },
    unistd::{Gid, Uid, fchownat, geteuid, linkat, symlinkat},
};
use pathrs::{Root, flags::OpenFlags};

use super::{
    entry::{Head, Kind},
    layer::{LayerError, OverLimit},
};
use crate::{
    kernel::set_xattr,
    process::in_user_namespace,
    tree::{Node, OPAQUE_TRUSTED, OPAQUE_USER, Stack, Walk, dot, io_error, node},
};

/// Read and written at once; zeros of this length become a hole.
const CHUNK: usize = 128 << 10;

/// A layer directory that is being filled.
pub(crate) struct Applier {
    root: Root,
    lowers: Stack,
    /// Bytes that files may still take.
    left: u64,
    limit: u64,
    /// Not root: owners, devices and some attributes are beyond us, and that is fine.
    lenient: bool,
    /// Directories by the name that the archive calls them, without the links in it.
    resolved: HashMap<PathBuf, PathBuf>,
    /// The directory that was used last, open: archives come sorted by directory.
    open: Option<(PathBuf, OwnedFd)>,
    /// Times of directories, set at the end, as filling a directory changes its time.
    times: BTreeMap<PathBuf, i64>,
}

/// Owner, mode and time.
struct Attributes<'a> {
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: i64,
    xattrs: &'a [(String, Vec<u8>)],
}

impl Applier {
    pub(crate) fn open(target: &Path, lowers: &[PathBuf], limit: u64) -> Result<Self, LayerError> {
        let failed = |source| LayerError::Create { path: target.to_owned(), source };
        Ok(Self {
            root: Root::open(target).map_err(io_error).map_err(failed)?,
            lowers: Stack::open(lowers).map_err(failed)?,
            left: limit,
            limit,
            lenient: !geteuid().is_root() || in_user_namespace(),
            resolved: HashMap::new(),
            open: None,
            times: BTreeMap::new(),
        })
    }

    /// Makes what the entry asks for; `body` is its content.
    pub(crate) fn apply(&mut self, head: &Head, body: &mut impl Read) -> Result<(), LayerError> {
        if head.kind == Kind::Skip {
            return Ok(());
        }
        let path = head.parent.join(&head.name);
        self.make(head, body).map_err(|source| match source.get_ref().is_some_and(|e| e.is::<OverLimit>()) {
            true => LayerError::Limit { what: "bytes", limit: self.limit },
            false => LayerError::Create { path, source },
        })
    }

    /// Sets the times of directories.
    pub(crate) fn finish(self) -> Result<(), LayerError> {
        for (path, mtime) in &self.times {
            let set = || {
                // It may have been replaced by a later entry.
                if !node(&self.root, path)?.is_some_and(|node| node.is_dir()) {
                    return Ok(());
                }
                let dir = self.root.open_subpath(dot(path), OpenFlags::O_RDONLY | OpenFlags::O_DIRECTORY).map_err(io_error)?;
                let time = TimeSpec::new(*mtime, 0);
                Ok::<_, io::Error>(futimens(dir, &time, &time)?)
            };
            set().map_err(|source| LayerError::Create { path: path.clone(), source })?;
        }
        Ok(())
    }

    fn make(&mut self, head: &Head, body: &mut impl Read) -> io::Result<()> {
        let parent = self.directory(&head.parent)?;
        let name = head.name.as_os_str();
        let attributes = Attributes { mode: head.mode, uid: head.uid, gid: head.gid, mtime: head.mtime, xattrs: &head.xattrs };
        match &head.kind {
            Kind::Directory => return self.make_directory(&parent, name, &attributes),
            Kind::Opaque => return self.mark_opaque(&parent),
            _ if name.is_empty() => return Err(Errno::EISDIR.into()),
            _ => {}
        }
        self.clear(&parent.join(name))?;
        let dir = self.opened(&parent)?;
        match &head.kind {
            Kind::File => self.make_file(&dir, name, &attributes, body),
            Kind::Symlink(target) => {
                symlinkat(target.as_path(), &dir, name)?;
                // A link may redirect names that were resolved before.
                self.resolved.clear();
                self.own(&dir, name, &attributes)?;
                let time = TimeSpec::new(head.mtime, 0);
                Ok(utimensat(&dir, name, &time, &time, UtimensatFlags::NoFollowSymlink)?)
            }
            Kind::HardLink(target) => self.link(&dir, name, target),
            Kind::Whiteout => Ok(mknodat(&dir, name, SFlag::S_IFCHR, Mode::empty(), 0)?),
            Kind::Character(device) => self.make_node(&dir, name, SFlag::S_IFCHR, *device, &attributes),
            Kind::Block(device) => self.make_node(&dir, name, SFlag::S_IFBLK, *device, &attributes),
            Kind::Fifo => self.make_node(&dir, name, SFlag::S_IFIFO, 0, &attributes),
            Kind::Directory | Kind::Opaque | Kind::Skip => Ok(()),
        }
    }

    /// The directory of that name in this layer, made if need be as the layers below have it.
    fn directory(&mut self, path: &Path) -> io::Result<PathBuf> {
        if let Some(resolved) = self.resolved.get(path) {
            return Ok(resolved.clone());
        }
        let mut walk = Walk::new(path);
        while let Some(next) = walk.next() {
            let here = node(&self.root, &next)?;
            let hidden = here.as_ref().is_some_and(Node::is_whiteout);
            match here {
                Some(node) if node.is_dir() => walk.at = next,
                Some(node) if node.kind() == SFlag::S_IFLNK => walk.follow(&self.root.readlink(&next).map_err(io_error)?)?,
                Some(_) => {
                    self.clear(&next)?;
                    self.plain_directory(&next, None)?;
                    if hidden {
                        self.mark_opaque(&next)?;
                    }
                    walk.at = next;
                }
                None => match self.lowers.find(&next)? {
                    Some((node, root)) if node.kind() == SFlag::S_IFLNK => {
                        let target = root.readlink(&next).map_err(io_error)?;
                        walk.follow(&target)?;
                    }
                    below => {
                        let stat = below.filter(|(node, _)| node.is_dir()).map(|(node, _)| node.stat);
                        self.plain_directory(&next, stat)?;
                        walk.at = next;
                    }
                },
            }
        }
        self.resolved.insert(path.to_owned(), walk.at.clone());
        Ok(walk.at)
    }

    /// A directory that the archive takes for granted: as it is below, or `rwxr-xr-x` of root.
    fn plain_directory(&mut self, path: &Path, below: Option<FileStat>) -> io::Result<()> {
        let (parent, name) = split(path);
        let attributes = match below {
            Some(stat) => {
                Attributes { mode: stat.st_mode & 0o7777, uid: stat.st_uid, gid: stat.st_gid, mtime: stat.st_mtime, xattrs: &[] }
            }
            None => Attributes { mode: 0o755, uid: 0, gid: 0, mtime: 0, xattrs: &[] },
        };
        self.make_directory(parent, name, &attributes)
    }

    fn make_directory(&mut self, parent: &Path, name: &OsStr, attributes: &Attributes<'_>) -> io::Result<()> {
        let path = parent.join(name);
        let existing = node(&self.root, &path)?;
        let hidden = existing.as_ref().is_some_and(Node::is_whiteout);
        if !existing.is_some_and(|node| node.is_dir()) {
            self.clear(&path)?;
            mkdirat(self.opened(parent)?, name, Mode::S_IRWXU)?;
        }
        if hidden {
            self.mark_opaque(&path)?;
        }
        let dir = self.root.open_subpath(dot(&path), OpenFlags::O_RDONLY | OpenFlags::O_DIRECTORY | OpenFlags::O_NOFOLLOW);
        self.finish_open(&dir.map_err(io_error)?, attributes)?;
        self.times.insert(path, attributes.mtime);
        Ok(())
    }

    fn make_file(&mut self, dir: &OwnedFd, name: &OsStr, attributes: &Attributes<'_>, body: &mut impl Read) -> io::Result<()> {
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut file = File::from(openat(dir, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?);
        let mut buffer = vec![0; CHUNK];
        let mut length = 0;
        loop {
            let read = fill(body, &mut buffer)?;
            if read == 0 {
                break;
            }
            self.left = self.left.checked_sub(read as u64).ok_or_else(|| io::Error::other(OverLimit))?;
            length += read as u64;
            if buffer[..read].iter().all(|byte| *byte == 0) {
                file.seek(SeekFrom::Current(i64::try_from(read).map_err(io::Error::other)?))?;
            } else {
                file.write_all(&buffer[..read])?;
            }
        }
        file.set_len(length)?;
        self.finish_open(&file, attributes)?;
        let time = TimeSpec::new(attributes.mtime, 0);
        Ok(futimens(&file, &time, &time)?)
    }

    fn make_node(&self, dir: &OwnedFd, name: &OsStr, kind: SFlag, device: u64, attributes: &Attributes<'_>) -> io::Result<()> {
        match mknodat(dir, name, kind, Mode::empty(), device) {
            Err(Errno::EPERM) if self.lenient => return Ok(()),
            other => other?,
        }
        self.own(dir, name, attributes)?;
        let mode = Mode::from_bits_truncate(attributes.mode);
        Ok(nix::sys::stat::fchmodat(dir, name, mode, nix::sys::stat::FchmodatFlags::FollowSymlink)?)
    }

    /// Another name for a file of this layer, or a copy of one of a lower layer, as overlayfs would make it.
    fn link(&mut self, dir: &OwnedFd, name: &OsStr, target: &Path) -> io::Result<()> {
        let (parent, target_name) = split(target);
        let parent = self.directory(parent)?;
        let target = parent.join(target_name);
        if let Some(node) = node(&self.root, &target)? {
            if node.is_dir() || node.is_whiteout() {
                return Err(Errno::EPERM.into());
            }
            let target_dir = self.opened(&parent)?;
            return Ok(linkat(&target_dir, target_name, dir, name, AtFlags::empty())?);
        }
        let Some((node, root)) = self.lowers.find(&target)? else { return Err(Errno::ENOENT.into()) };
        let stat = node.stat;
        let attributes =
            Attributes { mode: stat.st_mode & 0o7777, uid: stat.st_uid, gid: stat.st_gid, mtime: stat.st_mtime, xattrs: &[] };
        if node.kind() != SFlag::S_IFREG {
            return Err(Errno::EPERM.into());
        }
        let mut file = root.open_subpath(&target, OpenFlags::O_RDONLY | OpenFlags::O_NOFOLLOW).map_err(io_error)?;
        self.make_file(dir, name, &attributes, &mut file)
    }

    /// Owner, mode and attributes of something open; the owner first, as changing it drops set-user-id bits and capabilities.
    fn finish_open(&self, file: &File, attributes: &Attributes<'_>) -> io::Result<()> {
        let owner = nix::unistd::fchown(file, Some(Uid::from_raw(attributes.uid)), Some(Gid::from_raw(attributes.gid)));
        self.tolerate(owner)?;
        fchmod(file, Mode::from_bits_truncate(attributes.mode))?;
        for (name, value) in attributes.xattrs {
            let Ok(name) = CString::new(name.as_str()) else { continue };
            match set_xattr(file, &name, value) {
                // A file system without attributes, or a namespace that may not set this one: the file is of use without.
                Err(e) if matches!(e.raw_os_error().map(Errno::from_raw), Some(Errno::ENOTSUP | Errno::EPERM)) => {}
                other => other?,
            }
        }
        Ok(())
    }

    fn own(&self, dir: &OwnedFd, name: &OsStr, attributes: &Attributes<'_>) -> io::Result<()> {
        let (uid, gid) = (Uid::from_raw(attributes.uid), Gid::from_raw(attributes.gid));
        self.tolerate(fchownat(dir, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW))
    }

    fn tolerate(&self, result: nix::Result<()>) -> io::Result<()> {
        match result {
            Err(Errno::EPERM | Errno::EINVAL) if self.lenient => Ok(()),
            other => Ok(other?),
        }
    }

    fn mark_opaque(&mut self, path: &Path) -> io::Result<()> {
        let dir = self.root.open_subpath(dot(path), OpenFlags::O_RDONLY | OpenFlags::O_DIRECTORY | OpenFlags::O_NOFOLLOW);
        let name = if self.lenient { OPAQUE_USER } else { OPAQUE_TRUSTED };
        set_xattr(dir.map_err(io_error)?, name, b"y")
    }

    /// Removes what this layer has under that name.
    fn clear(&mut self, path: &Path) -> io::Result<()> {
        if node(&self.root, path)?.is_none() {
            return Ok(());
        }
        self.resolved.clear();
        self.open = None;
        self.root.remove_all(path).map_err(io_error)
    }

    fn opened(&mut self, path: &Path) -> io::Result<OwnedFd> {
        if let Some((_, fd)) = self.open.as_ref().filter(|(known, _)| known == path) {
            return fd.try_clone();
        }
        let fd = OwnedFd::from(self.root.resolve_nofollow(dot(path)).map_err(io_error)?);
        self.open = Some((path.to_owned(), fd.as_fd().try_clone_to_owned()?));
        Ok(fd)
    }
}

/// Parent and last name of a path that has one; the root is a nameless entry of itself.
fn split(path: &Path) -> (&Path, &OsStr) {
    (path.parent().unwrap_or(Path::new("")), path.file_name().unwrap_or_default())
}

/// Reads until the buffer is full or the end is reached.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}
