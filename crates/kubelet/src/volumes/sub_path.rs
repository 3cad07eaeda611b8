//! `subPath`: a directory or file below a volume, which a container that wrote to the volume must not lead elsewhere.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::AsRawFd,
        unix::fs::{DirBuilderExt, OpenOptionsExt},
    },
    path::{Component, Path, PathBuf},
};

use nix::libc;

/// Resolves `sub_path` below `volume`, making the directories that are missing.
///
/// Symlinks inside the volume are followed, but never out of it: each step is resolved from an open directory, and the result is
/// the path that the kernel has for what was opened.
///
/// # Errors
/// When the path leads out of the volume, or the file system refuses.
pub(crate) fn resolve(volume: &Path, sub_path: &str) -> io::Result<PathBuf> {
    let escapes = || {
        io::Error::new(io::ErrorKind::InvalidInput, format!("subpath {sub_path:?} not within volume path {}", volume.display()))
    };
    let root = fs::canonicalize(volume)?;
    let mut path = root.clone();
    let parts: Vec<Component<'_>> = Path::new(sub_path).components().filter(|part| *part != Component::CurDir).collect();
    for part in parts {
        let Component::Normal(name) = part else { return Err(escapes()) };
        let next = path.join(name);
        match fs::symlink_metadata(&next) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::DirBuilder::new().mode(0o750).create(&next)?;
            }
            Err(error) => return Err(error),
        }
        path = opened(&next)?;
        if !path.starts_with(&root) {
            return Err(escapes());
        }
    }
    Ok(path)
}

/// Where `path` leads, as the kernel says of an open file.
fn opened(path: &Path) -> io::Result<PathBuf> {
    let file: File = fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_CLOEXEC).open(path)?;
    fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn stays_below_the_volume() {
        let directory = tempfile::tempdir().unwrap();
        let volume = directory.path().join("volume");
        fs::create_dir_all(volume.join("inside")).unwrap();
        symlink("inside", volume.join("link")).unwrap();
        symlink("/etc", volume.join("out")).unwrap();
        symlink("..", volume.join("up")).unwrap();
        let root = fs::canonicalize(&volume).unwrap();
        assert_eq!(resolve(&volume, "new/dir").unwrap(), root.join("new/dir"));
        assert_eq!(resolve(&volume, "link/x").unwrap(), root.join("inside/x"));
        for path in ["../x", "/etc", "out", "up/volume", "a/../../x"] {
            assert!(resolve(&volume, path).is_err(), "{path}");
        }
    }
}
