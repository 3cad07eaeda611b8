//! `fsGroup`: a volume's files belong to the group, which may read and write them.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt, lchown},
    path::Path,
};

const SET_GROUP_ID: u32 = 0o2000;

/// Gives everything below `path` to `group`; directories pass it on to what is made in them. In a volume that can only be read,
/// the group may read.
///
/// # Errors
/// The first file whose owner or mode cannot be changed.
pub(crate) fn give_to_group(path: &Path, group: u32, writable: bool) -> io::Result<()> {
    let meta = fs::symlink_metadata(path)?;
    lchown(path, None, Some(group))?;
    if meta.is_symlink() {
        return Ok(());
    }
    let access = if writable { 0o660 } else { 0o440 };
    let add = if meta.is_dir() { SET_GROUP_ID | 0o110 | access } else { access };
    fs::set_permissions(path, fs::Permissions::from_mode(meta.permissions().mode() | add))?;
    if meta.is_dir() {
        for entry in fs::read_dir(path)? {
            give_to_group(&entry?.path(), group, writable)?;
        }
    }
    Ok(())
}

/// Whether the root of the volume is as [`give_to_group`] leaves it, which `fsGroupChangePolicy: OnRootMismatch` goes by.
pub(crate) fn root_matches(path: &Path, group: u32) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.gid() == group && meta.mode() & (SET_GROUP_ID | 0o770) == SET_GROUP_ID | 0o770)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_may_do_what_the_volume_allows() {
        for (writable, file_mode, dir_mode) in [(true, 0o660, 0o2770), (false, 0o640, 0o2750)] {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("file");
            fs::write(&file, "").unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
            let group = fs::metadata(&file).unwrap().gid();
            give_to_group(dir.path(), group, writable).unwrap();
            let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
            assert_eq!((mode(&file), mode(dir.path())), (file_mode, dir_mode));
        }
    }
}
