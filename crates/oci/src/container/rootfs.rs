//! A container's root file system: layers below, its own changes above.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Component, Path, PathBuf},
};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use pathrs::Root;

use super::record::Record;
use crate::{image::layer_name, tree::io_error};

/// Directories of a container's own in its directory.
pub(crate) fn make_dirs(dir: &Path) -> io::Result<()> {
    ["rootfs", "upper", "work"].iter().try_for_each(|name| fs::create_dir_all(dir.join(name)))
}

/// Mounts the container's root on `rootfs` in its directory. Changes the working directory: names relative to the layers
/// are short, and mount options must fit a page.
pub(crate) fn mount_root(dir: &Path, record: &Record) -> io::Result<()> {
    let rootfs = dir.join("rootfs");
    std::env::set_current_dir(&record.layers_dir)?;
    let mut lower = OsString::new();
    for chain_id in record.chain_ids.iter().rev() {
        if !lower.is_empty() {
            lower.push(":");
        }
        lower.push(format!("{}/fs", layer_name(chain_id)));
    }
    let mut options = OsString::from("lowerdir=");
    options.push(if lower.is_empty() { dir.join("rootfs").into_os_string() } else { lower });
    for name in ["upper", "work"] {
        options.push(format!(",{name}dir="));
        options.push(dir.join(name));
    }
    let mounted = mount(Some("overlay"), &rootfs, Some("overlay"), MsFlags::empty(), Some(options.as_os_str()));
    std::env::set_current_dir("/")?;
    Ok(mounted?)
}

/// Takes the root away from this mount namespace; the container keeps its own view of it.
pub(crate) fn unmount_root(dir: &Path) {
    // Not mounted is as good as unmounted.
    let _ = umount2(&dir.join("rootfs"), MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW);
}

/// Makes the working directory of the container where it is missing: in the volume that it lies in, or in the root.
pub(crate) fn make_working_dir(dir: &Path, record: &Record, cwd: &Path) -> io::Result<()> {
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
