//! A stack of layer directories, looked at as overlayfs would show it. Nothing in a layer can lead out of it.

use std::{
    collections::VecDeque,
    ffi::{CStr, OsString},
    io,
    path::{Component, Path, PathBuf},
};

use nix::{
    errno::Errno,
    sys::stat::{FileStat, SFlag, fstat},
};
use pathrs::{Root, error::ErrorKind, flags::OpenFlags};

/// Symbolic links followed for one path; the kernel's own bound.
const LINKS: u32 = 40;

/// What marks a directory that hides the ones below it.
pub(crate) const OPAQUE_TRUSTED: &CStr = c"trusted.overlay.opaque";
/// The same where `trusted.*` may not be set: in a user namespace.
pub(crate) const OPAQUE_USER: &CStr = c"user.overlay.opaque";

/// Something in a layer.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) stat: FileStat,
}

impl Node {
    pub(crate) fn kind(&self) -> SFlag {
        SFlag::from_bits_truncate(self.stat.st_mode & SFlag::S_IFMT.bits())
    }

    pub(crate) fn is_dir(&self) -> bool {
        self.kind() == SFlag::S_IFDIR
    }

    /// The mark that hides what lower layers have under this name.
    pub(crate) fn is_whiteout(&self) -> bool {
        self.kind() == SFlag::S_IFCHR && self.stat.st_rdev == 0
    }
}

/// pathrs' error with its error number, if it has one.
pub(crate) fn io_error(error: pathrs::error::Error) -> io::Error {
    match error.kind() {
        ErrorKind::OsError(Some(errno)) => io::Error::from_raw_os_error(errno),
        _ => io::Error::other(error),
    }
}

/// The root has an empty path here and a dot for the kernel.
pub(crate) fn dot(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

/// What is at `path` below `root`; a symbolic link at its end is not followed.
pub(crate) fn node(root: &Root, path: &Path) -> io::Result<Option<Node>> {
    match root.resolve_nofollow(dot(path)) {
        Ok(handle) => Ok(Some(Node { stat: fstat(&handle)? })),
        Err(error) => match io_error(error) {
            e if matches!(e.raw_os_error().map(Errno::from_raw), Some(Errno::ENOENT | Errno::ENOTDIR)) => Ok(None),
            e => Err(e),
        },
    }
}

/// The components of a path that may not leave its root; `None` if it tries to.
pub(crate) fn components(path: &Path) -> Option<Vec<OsString>> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name.to_owned()),
            Component::ParentDir => return None,
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Some(names)
}

/// Where a walk stands when it meets something that is not a plain directory.
pub(crate) struct Walk {
    /// Resolved so far.
    pub(crate) at: PathBuf,
    pending: VecDeque<OsString>,
    links: u32,
}

impl Walk {
    pub(crate) fn new(path: &Path) -> Self {
        Self { at: PathBuf::new(), pending: components(path).unwrap_or_default().into(), links: 0 }
    }

    /// The next place to look at; `None` at the end.
    pub(crate) fn next(&mut self) -> Option<PathBuf> {
        loop {
            let name = self.pending.pop_front()?;
            if name != ".." {
                return Some(self.at.join(name));
            }
            self.at.pop();
        }
    }

    /// Goes on at the target of a symbolic link that was met.
    pub(crate) fn follow(&mut self, target: &Path) -> io::Result<()> {
        self.links += 1;
        if self.links > LINKS {
            return Err(Errno::ELOOP.into());
        }
        if target.is_absolute() {
            self.at = PathBuf::new();
        }
        for component in target.components().rev() {
            match component {
                Component::Normal(name) => self.pending.push_front(name.to_owned()),
                Component::ParentDir => self.pending.push_front("..".into()),
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            }
        }
        Ok(())
    }
}

/// Layers to look things up in, the uppermost first.
#[derive(Debug)]
pub(crate) struct Stack(Vec<Root>);

impl Stack {
    /// Opens the directories of layers, the uppermost first.
    pub(crate) fn open<P: AsRef<Path>>(dirs: impl IntoIterator<Item = P>) -> io::Result<Self> {
        dirs.into_iter().map(|dir| Root::open(dir).map_err(io_error)).collect::<io::Result<_>>().map(Self)
    }

    /// What the layers show at `path`, whose parents are no links; with the layer that has it.
    pub(crate) fn find(&self, path: &Path) -> io::Result<Option<(Node, &Root)>> {
        for root in &self.0 {
            if let Some(node) = node(root, path)? {
                return Ok((!node.is_whiteout()).then_some((node, root)));
            }
            if hides(root, path)? {
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// Reads a file, links followed, if it is there and is no longer than `limit`.
    pub(crate) fn read(&self, path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let mut walk = Walk::new(path);
        let mut last = None;
        while let Some(next) = walk.next() {
            let Some((node, root)) = self.find(&next)? else { return Ok(None) };
            if node.kind() == SFlag::S_IFLNK {
                walk.follow(&root.readlink(&next).map_err(io_error)?)?;
                continue;
            }
            walk.at = next.clone();
            last = Some((node, root, next));
        }
        match last {
            Some((node, root, path)) if node.kind() == SFlag::S_IFREG => {
                let file = root.open_subpath(path, OpenFlags::O_RDONLY | OpenFlags::O_NOFOLLOW).map_err(io_error)?;
                let mut bytes = Vec::new();
                io::Read::read_to_end(&mut io::Read::take(file, limit), &mut bytes)?;
                Ok(Some(bytes))
            }
            _ => Ok(None),
        }
    }
}

/// Whether a parent of `path` in this layer hides everything below it: an opaque directory, a whiteout, a file.
fn hides(root: &Root, path: &Path) -> io::Result<bool> {
    for parent in path.ancestors().skip(1).filter(|p| !p.as_os_str().is_empty()) {
        let Some(node) = node(root, parent)? else { continue };
        if !node.is_dir() {
            return Ok(true);
        }
        let dir = root.open_subpath(parent, OpenFlags::O_RDONLY | OpenFlags::O_DIRECTORY).map_err(io_error)?;
        if is_opaque(&dir) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a directory of a layer hides what lower layers have in it.
pub(crate) fn is_opaque(dir: &std::fs::File) -> bool {
    [OPAQUE_TRUSTED, OPAQUE_USER].iter().any(|name| crate::kernel::get_xattr(dir, name).is_some_and(|v| v == b"y"))
}
