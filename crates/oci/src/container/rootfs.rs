//! A container's root file system: layers below, its own changes above.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Component, Path, PathBuf},
};

use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
};
use pathrs::Root;

use super::{copy::copy_layers, record::Record};
use crate::{image::layer_name, process::in_user_namespace, tree::io_error};

/// Directories of a container's own in its directory.
pub(super) fn make_dirs(dir: &Path) -> io::Result<()> {
    ["rootfs", "upper", "work"].iter().try_for_each(|name| fs::create_dir_all(dir.join(name)))
}

/// Makes the container's root appear at `rootfs` in its directory: with overlayfs, or where the machine has none, as a copy.
///
/// Changes the working directory: names relative to the layers are short, and mount options must fit a page.
pub(super) fn mount_root(dir: &Path, record: &Record) -> io::Result<()> {
    std::env::set_current_dir(&record.layers_dir)?;
    let mounted = mount_overlay(dir, record);
    std::env::set_current_dir("/")?;
    match mounted {
        Err(Errno::ENODEV | Errno::EPERM | Errno::EINVAL | Errno::EOPNOTSUPP) => {
            tracing::debug!("no overlayfs here, the root is copied");
            let layers: Vec<_> = record.chain_ids.iter().map(|id| record.layers_dir.join(layer_name(id)).join("fs")).collect();
            copy_layers(&layers, &dir.join("rootfs"))
        }
        other => Ok(other?),
    }
}

fn mount_overlay(dir: &Path, record: &Record) -> nix::Result<()> {
    let rootfs = dir.join("rootfs");
    let lowers: Vec<String> = record.chain_ids.iter().rev().map(|id| format!("{}/fs", layer_name(id))).collect();
    let mut options = OsString::from("lowerdir=");
    // An image of no layers has an empty root, which still needs something below.
    options.push(if lowers.is_empty() { rootfs.clone().into_os_string() } else { lowers.join(":").into() });
    for name in ["upper", "work"] {
        options.push(format!(",{name}dir="));
        options.push(dir.join(name));
    }
    if in_user_namespace() {
        options.push(",userxattr");
    }
    mount(Some("overlay"), &rootfs, Some("overlay"), MsFlags::empty(), Some(options.as_os_str()))
}

/// Takes the root away from this mount namespace; the container keeps its own view of it.
pub(super) fn unmount_root(dir: &Path) {
    // Not mounted is as good as unmounted.
    let _ = umount2(&dir.join("rootfs"), MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW);
}

/// Makes the working directory of the container where it is missing: in the volume that it lies in, or in the root.
pub(super) fn make_working_dir(dir: &Path, record: &Record, cwd: &Path) -> io::Result<()> {
    let holds = |mount: &&super::Mount| cwd.starts_with(&mount.container_path) && !mount.read_only && mount.host_path.is_dir();
    let mount = record.spec.mounts.iter().filter(holds).max_by_key(|m| Path::new(&m.container_path).components().count());
    let (base, inside) = match mount {
        Some(mount) => (mount.host_path.clone(), cwd.strip_prefix(&mount.container_path).unwrap_or(Path::new(""))),
        None => (dir.join("rootfs"), cwd),
    };
    let inside: PathBuf = inside.components().filter(|c| matches!(c, Component::Normal(_))).collect();
    if inside.as_os_str().is_empty() {
        return Ok(());
    }
    let root = Root::open(base).map_err(io_error)?;
    match root.mkdir_all(inside, &fs::Permissions::from_mode(0o755)).map_err(io_error) {
        // Of a kind that the container itself will say more about.
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(()),
        other => other.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, symlink};

    use nix::sys::stat::{Mode, SFlag, mknod};

    use super::*;
    use crate::{
        kernel::set_xattr,
        tree::{OPAQUE_TRUSTED, OPAQUE_USER},
    };

    #[test]
    fn a_copy_shows_what_overlayfs_would() {
        let dir = tempfile::tempdir().unwrap();
        let (lower, upper, rootfs) = (dir.path().join("lower"), dir.path().join("upper"), dir.path().join("rootfs"));
        let outside = dir.path().join("outside");
        for made in [&lower.join("kept"), &lower.join("hidden"), &upper.join("hidden"), &upper.join("link"), &rootfs, &outside] {
            fs::create_dir_all(made).unwrap();
        }
        fs::write(lower.join("kept/a"), "lower").unwrap();
        fs::hard_link(lower.join("kept/a"), lower.join("kept/b")).unwrap();
        fs::write(lower.join("hidden/old"), "").unwrap();
        fs::write(lower.join("deleted"), "").unwrap();
        symlink(&outside, lower.join("link")).unwrap();
        fs::write(upper.join("link/inside"), "").unwrap();
        fs::write(upper.join("hidden/new"), "").unwrap();
        mknod(&upper.join("deleted"), SFlag::S_IFCHR, Mode::empty(), 0).unwrap();
        let hidden = fs::File::open(upper.join("hidden")).unwrap();
        set_xattr(&hidden, OPAQUE_TRUSTED, b"y").or_else(|_| set_xattr(&hidden, OPAQUE_USER, b"y")).unwrap();
        copy_layers(&[lower, upper], &rootfs).unwrap();
        let inode = |path: &str| fs::metadata(rootfs.join(path)).unwrap().ino();
        assert_eq!(inode("kept/a"), inode("kept/b"));
        assert!(rootfs.join("hidden/new").exists() && !rootfs.join("hidden/old").exists());
        assert!(!rootfs.join("deleted").exists());
        assert!(fs::symlink_metadata(rootfs.join("link")).unwrap().is_dir() && rootfs.join("link/inside").exists());
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        assert!(!fs::metadata(rootfs.join("kept/a")).unwrap().file_type().is_char_device());
    }
}
