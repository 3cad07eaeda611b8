//! `subPath`: a directory or file below a volume, which a container that wrote to the volume must not lead elsewhere.

use std::{
    fs::{self, File, Permissions},
    io,
    os::{
        fd::AsRawFd,
        unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    },
    path::{Component, Path, PathBuf},
};

use nix::libc;

/// The bits of a mode that can be set.
const MODE: u32 = 0o7777;

/// Resolves `sub_path` below `volume`, making the directories that are missing, with the mode of the volume's root.
///
/// Symlinks inside the volume are followed, but never out of it: each step is taken from an open directory, and the result is
/// the path that the kernel has for what was opened.
///
/// # Errors
/// When the path leads out of the volume, or the file system refuses.
pub(crate) fn resolve(volume: &Path, sub_path: &str) -> io::Result<PathBuf> {
    let escapes = || {
        io::Error::new(io::ErrorKind::InvalidInput, format!("subpath {sub_path:?} not within volume path {}", volume.display()))
    };
    let mut reached = open(volume, 0)?;
    let root = fs::read_link(entry(&reached))?;
    let mode = reached.metadata()?.permissions().mode() & MODE;
    for part in Path::new(sub_path).components().filter(|part| *part != Component::CurDir) {
        let Component::Normal(name) = part else { return Err(escapes()) };
        let next = entry(&reached).join(name);
        reached = match fs::DirBuilder::new().mode(mode).create(&next) {
            Ok(()) => made(&next, mode)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => open(&next, 0)?,
            Err(error) => return Err(error),
        };
        if !fs::read_link(entry(&reached))?.starts_with(&root) {
            return Err(escapes());
        }
    }
    fs::read_link(entry(&reached))
}

/// Opens a directory that was just made, and gives it `mode` whatever the umask is: its container need not run as root.
fn made(path: &Path, mode: u32) -> io::Result<File> {
    // A link that took its place meanwhile does not get the mode to where it leads.
    let directory = open(path, libc::O_NOFOLLOW | libc::O_DIRECTORY)?;
    fs::set_permissions(entry(&directory), Permissions::from_mode(mode))?;
    Ok(directory)
}

/// A handle on a file that cannot be read by it, so that pipes and devices do nothing either.
fn open(path: &Path, flags: i32) -> io::Result<File> {
    fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_CLOEXEC | flags).open(path)
}

/// Where the kernel shows an open file, a link to its path.
fn entry(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

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

    #[test]
    fn what_is_made_has_the_mode_of_the_volume() {
        let volume = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & MODE;
        for (index, wanted) in [0o777, 0o2775, 0o700, 0o1777].into_iter().enumerate() {
            fs::set_permissions(volume.path(), Permissions::from_mode(wanted)).unwrap();
            let made = resolve(volume.path(), &format!("{index}/below")).unwrap();
            assert_eq!((mode(&made), mode(made.parent().unwrap())), (wanted, wanted), "{wanted:o}");
        }
        fs::set_permissions(volume.path(), Permissions::from_mode(0o755)).unwrap();
        let found = resolve(volume.path(), "0").unwrap();
        assert_eq!(mode(&found), 0o777, "what is there stays as it is");
    }
}
