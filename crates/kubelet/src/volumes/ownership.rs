//! `fsGroup`: a volume's files belong to the group, which may read and write them.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt, lchown},
    path::Path,
};

const SET_GROUP_ID: u32 = 0o2000;

/// Gives everything below `path` to `group`; directories pass it on to what is made in them.
///
/// # Errors
/// The first file whose owner or mode cannot be changed.
pub(crate) fn give_to_group(path: &Path, group: u32) -> io::Result<()> {
    let meta = fs::symlink_metadata(path)?;
    lchown(path, None, Some(group))?;
    if meta.is_symlink() {
        return Ok(());
    }
    let add = if meta.is_dir() { SET_GROUP_ID | 0o770 } else { 0o660 };
    // A file made read-only on purpose (mode 0400) becomes readable for the group, not writable.
    let add = if meta.mode() & 0o200 == 0 && meta.is_file() { add & !0o220 } else { add };
    fs::set_permissions(path, fs::Permissions::from_mode(meta.permissions().mode() | add))?;
    if meta.is_dir() {
        for entry in fs::read_dir(path)? {
            give_to_group(&entry?.path(), group)?;
        }
    }
    Ok(())
}

/// Whether the root of the volume is as [`give_to_group`] leaves it, which `fsGroupChangePolicy: OnRootMismatch` goes by.
pub(crate) fn root_matches(path: &Path, group: u32) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.gid() == group && meta.mode() & (SET_GROUP_ID | 0o770) == SET_GROUP_ID | 0o770)
}
