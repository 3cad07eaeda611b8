//! The demo's images, made of this binary and the libraries that it has loaded: nothing is downloaded.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// Path of the binary in the image.
pub(crate) const PROGRAM: &str = "/windlass";

/// Files of the image: where they go, and where they are here.
pub(crate) fn files() -> Result<Vec<(String, PathBuf)>> {
    let binary = fs::canonicalize("/proc/self/exe").context("cannot find the binary that is running")?;
    let mut files = vec![(PROGRAM.to_owned(), binary.clone())];
    for object in shared_objects(&binary).context("cannot tell which libraries the binary has loaded")? {
        files.push((object.to_string_lossy().into_owned(), object));
    }
    // The dynamic linker is looked for where the binary names it, which is often a link to where it was loaded from.
    for linker in ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"] {
        if Path::new(linker).exists() && !files.iter().any(|(path, _)| path == linker) {
            files.push((linker.to_owned(), fs::canonicalize(linker)?));
        }
    }
    Ok(files)
}

/// Files that the dynamic linker has mapped into this process.
fn shared_objects(binary: &Path) -> io::Result<BTreeSet<PathBuf>> {
    let maps = fs::read_to_string("/proc/self/maps")?;
    let mapped = maps.lines().filter_map(|line| line.split_whitespace().nth(5)).map(PathBuf::from);
    let is_object = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().contains(".so"));
    Ok(mapped.filter(|path| path.is_absolute() && path != binary && is_object(path)).collect())
}
