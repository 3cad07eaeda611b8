//! The program that a command line names, found as Go's `exec.LookPath` finds it, with its error texts.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// The file to execute, in the root file system and working directory of the calling process.
///
/// # Errors
/// The text after `exec: `.
pub(crate) fn look_path(program: &str, path: &str) -> Result<PathBuf, String> {
    if program.contains('/') {
        return match executable(Path::new(program)) {
            Ok(()) => Ok(program.into()),
            Err(Why::Missing) => Err(format!("{program:?}: stat {program}: no such file or directory")),
            Err(Why::Directory) => Err(format!("{program:?}: is a directory")),
            Err(Why::Permission) => Err(format!("{program:?}: permission denied")),
        };
    }
    let found =
        path.split(':').filter(|dir| !dir.is_empty()).map(|dir| Path::new(dir).join(program)).find(|p| executable(p).is_ok());
    found.filter(|_| !program.is_empty()).ok_or_else(|| format!("{program:?}: executable file not found in $PATH"))
}

enum Why {
    Missing,
    Directory,
    Permission,
}

fn executable(path: &Path) -> Result<(), Why> {
    let metadata = fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::PermissionDenied => Why::Permission,
        _ => Why::Missing,
    })?;
    match (metadata.is_dir(), metadata.permissions().mode() & 0o111) {
        (true, _) => Err(Why::Directory),
        (false, 0) => Err(Why::Permission),
        (false, _) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_worded_as_upstream() {
        let dir = tempfile::tempdir().unwrap();
        let plain = dir.path().join("plain");
        fs::write(&plain, "").unwrap();
        let plain = plain.to_str().unwrap();
        let path = dir.path().to_str().unwrap();
        assert_eq!(look_path("sh", "/nowhere:/bin").unwrap(), Path::new("/bin/sh"));
        assert_eq!(look_path("/bin/sh", "").unwrap(), Path::new("/bin/sh"));
        for (program, text) in [
            ("nope", "\"nope\": executable file not found in $PATH".to_owned()),
            ("plain", "\"plain\": executable file not found in $PATH".to_owned()),
            ("", "\"\": executable file not found in $PATH".to_owned()),
            ("/nope", "\"/nope\": stat /nope: no such file or directory".to_owned()),
            ("/", "\"/\": is a directory".to_owned()),
            (plain, format!("{plain:?}: permission denied")),
        ] {
            assert_eq!(look_path(program, path).unwrap_err(), text);
        }
    }
}
