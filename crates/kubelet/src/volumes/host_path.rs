//! `hostPath`: a path of the machine, of the type that was asked for.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt},
    path::Path,
};

/// Checks `path` against the type of the volume, making what `…OrCreate` allows to make.
///
/// # Errors
/// Upstream's text when the path is not of that type.
pub(crate) fn check(path: &Path, kind: &str) -> Result<(), String> {
    let failed = |what: &str| Err(format!("hostPath type check failed: {} is not a {what}", path.display()));
    let create_failed = |error: io::Error| error.to_string();
    let meta = fs::metadata(path);
    match kind {
        // Without a type nothing is checked, and what is missing becomes a directory, as container runtimes do.
        "" | "DirectoryOrCreate" if meta.is_err() => {
            fs::DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(create_failed)?;
        }
        "FileOrCreate" if meta.is_err() => {
            fs::OpenOptions::new().create(true).append(true).mode(0o644).open(path).map_err(create_failed)?;
        }
        "Directory" | "DirectoryOrCreate" if !meta.as_ref().is_ok_and(|meta| meta.is_dir()) => return failed("directory"),
        "File" | "FileOrCreate" if !meta.as_ref().is_ok_and(|meta| meta.is_file()) => return failed("file"),
        "Socket" if !meta.as_ref().is_ok_and(|meta| meta.file_type().is_socket()) => return failed("socket file"),
        "CharDevice" if !meta.as_ref().is_ok_and(|meta| meta.file_type().is_char_device()) => return failed("character device"),
        "BlockDevice" if !meta.as_ref().is_ok_and(|meta| meta.file_type().is_block_device()) => return failed("block device"),
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_checked_or_made() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        assert_eq!(check(&path, "Directory"), Err(format!("hostPath type check failed: {} is not a directory", path.display())));
        assert!(check(&path, "DirectoryOrCreate").is_ok());
        assert!(check(&path, "Directory").is_ok());
        assert!(check(&path, "File").is_err());
        assert!(check(&directory.path().join("y"), "").is_ok());
        assert!(check(Path::new("/dev/null"), "CharDevice").is_ok());
    }
}
