//! Files that change all at once: a directory behind a symlink, swapped by one rename, laid out as upstream does.
//!
//! ```text
//! ..2026_11_22_08_00_00.123456789/key    the files of this moment
//! ..data -> ..2026_11_22_08_00_00.123456789
//! key -> ..data/key
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::{Component, Path, PathBuf},
};

use jiff::Timestamp;

/// One file: its bytes, and its permission bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) data: Vec<u8>,
    pub(crate) mode: u32,
    /// User it belongs to; the kubelet's own by default.
    pub(crate) owner: Option<u32>,
}

/// All files of a volume, by path below it.
pub(crate) type Payload = BTreeMap<String, File>;

const DATA: &str = "..data";
const NEW_DATA: &str = "..data_tmp";

/// Makes `target` hold exactly `payload`; nothing is touched when it does already. True when something changed.
///
/// # Errors
/// When the file system refuses, or a path leads out of the volume. What a reader sees is then still the whole old content.
pub(crate) fn write(target: &Path, payload: &Payload, group: Option<u32>, now: Timestamp) -> io::Result<bool> {
    for path in payload.keys() {
        check_path(path)?;
    }
    let current = fs::read_link(target.join(DATA)).ok();
    if current.as_ref().is_some_and(|current| holds(&target.join(current), payload)) {
        return Ok(false);
    }
    let directory = now.strftime("..%Y_%m_%d_%H_%M_%S.%9f").to_string();
    let staged = target.join(&directory);
    fs::create_dir_all(&staged)?;
    fs::set_permissions(&staged, fs::Permissions::from_mode(0o755))?;
    for (path, file) in payload {
        write_file(&staged.join(path), file)?;
    }
    if let Some(group) = group {
        super::ownership::give_to_group(target, group, false)?;
    }
    let _ = fs::remove_file(target.join(NEW_DATA));
    symlink(&directory, target.join(NEW_DATA))?;
    fs::rename(target.join(NEW_DATA), target.join(DATA))?;
    link_names(target, payload)?;
    if let Some(old) = current.filter(|old| old.as_os_str() != directory.as_str()) {
        fs::remove_dir_all(target.join(old))?;
    }
    Ok(true)
}

fn check_path(path: &str) -> io::Result<()> {
    let is_plain = !path.is_empty() && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    if is_plain && !path.starts_with("..") {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("invalid path {path:?}: must be relative and not start with or contain '..'"),
    ))
}

fn holds(directory: &Path, payload: &Payload) -> bool {
    let mut found = BTreeSet::new();
    if list(directory, Path::new(""), &mut found).is_err() || found.len() != payload.len() {
        return false;
    }
    payload.iter().all(|(path, file)| {
        let path = directory.join(path);
        let mode = fs::metadata(&path).map(|meta| meta.permissions().mode() & 0o777);
        // Group permissions are added for fsGroup afterwards, so only what was asked for must be there.
        mode.is_ok_and(|mode| mode & file.mode == file.mode) && fs::read(&path).is_ok_and(|data| data == file.data)
    })
}

fn list(root: &Path, below: &Path, found: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            list(root, &path, found)?;
        } else {
            found.insert(path);
        }
    }
    Ok(())
}

fn write_file(path: &Path, file: &File) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, &file.data)?;
    // After writing: the mode may forbid it to us, and the umask must not weaken it.
    fs::set_permissions(path, fs::Permissions::from_mode(file.mode))?;
    match file.owner.map_or(Ok(()), |owner| chown(path, Some(owner), None)) {
        // The machine of a user without subordinate ids has no such owner; a container that would run as it is refused by itself.
        Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => Ok(()),
        other => other,
    }
}

/// Links for the first part of each path; those that nothing stands behind any more go.
fn link_names(target: &Path, payload: &Payload) -> io::Result<()> {
    let names: BTreeSet<&str> = payload.keys().filter_map(|path| path.split('/').find(|part| !part.is_empty())).collect();
    for name in &names {
        let link = target.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(name), link)?;
        }
    }
    for entry in fs::read_dir(target)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with("..") && !names.contains(&*name) {
            fs::remove_file(target.join(&*name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(files: &[(&str, &str)]) -> Payload {
        files
            .iter()
            .map(|(path, data)| ((*path).to_owned(), File { data: data.as_bytes().to_vec(), mode: 0o644, owner: None }))
            .collect()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn files_change_behind_one_link() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path();
        assert!(write(target, &payload(&[("a", "1"), ("d/b", "2")]), None, at(0)).unwrap());
        assert_eq!(names(target), ["..1970_01_01_00_00_00.000000000", "..data", "a", "d"]);
        assert_eq!(fs::read_to_string(target.join("d/b")).unwrap(), "2");
        assert!(!write(target, &payload(&[("a", "1"), ("d/b", "2")]), None, at(1)).unwrap(), "nothing changed");
        assert!(write(target, &payload(&[("a", "3"), ("c", "4")]), None, at(2)).unwrap());
        assert_eq!(names(target), ["..1970_01_01_00_00_02.000000000", "..data", "a", "c"]);
        assert_eq!(fs::read_to_string(target.join("a")).unwrap(), "3");
    }

    #[test]
    fn paths_stay_inside() {
        let directory = tempfile::tempdir().unwrap();
        for path in ["../x", "/x", "a/../../x", "..data", ""] {
            assert!(write(directory.path(), &payload(&[(path, "")]), None, at(0)).is_err(), "{path}");
        }
        assert_eq!(names(directory.path()), Vec::<String>::new());
    }
}
