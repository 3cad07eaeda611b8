//! A root file system without overlayfs: the layers copied on each other.

use std::{
    collections::HashMap,
    fs::{self, File, Metadata},
    io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, fchown, lchown, symlink},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use nix::sys::stat::{Mode, SFlag, mknod};

use crate::{
    kernel::{get_xattr, set_xattr},
    tree::is_opaque,
};

/// What lets a program have capabilities of its own.
const CAPABILITY: &std::ffi::CStr = c"security.capability";

/// Copies layers, the lowest first, into an empty directory. Nothing in them is followed: each name is looked at on its own.
pub(super) fn copy_layers(layers: &[PathBuf], rootfs: &Path) -> io::Result<()> {
    for layer in layers {
        // Hard links are within one layer.
        merge(layer, rootfs, &mut HashMap::new())?;
        own(layer, rootfs)?;
    }
    Ok(())
}

fn merge(from: &Path, to: &Path, links: &mut HashMap<u64, PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let name = entry?.file_name();
        let (from, to) = (from.join(&name), to.join(&name));
        let metadata = fs::symlink_metadata(&from)?;
        let existing = fs::symlink_metadata(&to).ok();
        if metadata.is_dir() {
            let hides = is_opaque(&File::open(&from)?);
            if existing.as_ref().is_some_and(|e| !e.is_dir() || hides) {
                remove(&to)?;
            }
            match fs::create_dir(&to) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => other?,
            }
            merge(&from, &to, links)?;
            own(&from, &to)?;
            continue;
        }
        if existing.is_some() {
            remove(&to)?;
        }
        let is_whiteout = metadata.file_type().is_char_device() && metadata.rdev() == 0;
        if !is_whiteout {
            copy(&from, &to, &metadata, links)?;
        }
    }
    Ok(())
}

/// Copies anything but a directory.
fn copy(from: &Path, to: &Path, metadata: &Metadata, links: &mut HashMap<u64, PathBuf>) -> io::Result<()> {
    if metadata.nlink() > 1 {
        if let Some(first) = links.get(&metadata.ino()) {
            return fs::hard_link(first, to);
        }
        links.insert(metadata.ino(), to.to_owned());
    }
    let kind = metadata.file_type();
    if kind.is_symlink() {
        symlink(fs::read_link(from)?, to)?;
        return lchown(to, Some(metadata.uid()), Some(metadata.gid()));
    }
    if kind.is_file() {
        fs::copy(from, to)?;
        return own(from, to);
    }
    let bits = if kind.is_char_device() {
        SFlag::S_IFCHR
    } else if kind.is_block_device() {
        SFlag::S_IFBLK
    } else {
        SFlag::S_IFIFO
    };
    mknod(to, bits, Mode::empty(), metadata.rdev())?;
    lchown(to, Some(metadata.uid()), Some(metadata.gid()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(metadata.mode()))
}

/// Gives a file or directory the owner, mode, time and capabilities of another one.
fn own(from: &Path, to: &Path) -> io::Result<()> {
    let (from, to) = (File::open(from)?, File::open(to)?);
    let metadata = from.metadata()?;
    fchown(&to, Some(metadata.uid()), Some(metadata.gid()))?;
    to.set_permissions(fs::Permissions::from_mode(metadata.mode()))?;
    if let Some(capability) = get_xattr(&from, CAPABILITY) {
        set_xattr(&to, CAPABILITY, &capability)?;
    }
    let seconds = u64::try_from(metadata.mtime()).unwrap_or(0);
    to.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

fn remove(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}
