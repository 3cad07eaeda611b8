//! Variables from a file in a volume, which an init container may have written: `fileKeyRef`.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use nix::{
    fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2},
    sys::stat::Mode,
};

/// A file of variables has some lines; one beyond this is none.
const MAX_BYTES: u64 = 1 << 20;

/// What `key` is in the file at `path` below `volume`; `None` if it is nothing there.
///
/// Links lead nowhere but into the volume, as if that were the root.
///
/// # Errors
/// When it cannot be read, or a line before the one with `key` is none of a file of variables.
pub(super) fn value(volume: &Path, path: &str, key: &str) -> io::Result<Option<String>> {
    let root = open(volume, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    // A pipe does not keep us waiting.
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let file = File::from(openat2(&root, path, OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_IN_ROOT))?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::other("too long for a file of variables"));
    }
    parse(&String::from_utf8_lossy(&bytes), key).map_err(io::Error::other)
}

/// Finds `key` among lines of `NAME=value`, with comments (`#`), empty lines, and lines that go on after a `\\` at their end.
fn parse(text: &str, key: &str) -> Result<Option<String>, String> {
    let blank = [' ', '\t'];
    let mut begun: Option<String> = None;
    for (line, number) in text.lines().zip(1..) {
        let line = line.trim_matches(blank);
        if line.is_empty() || line.starts_with('#') {
            if begun.is_some() {
                return Err(format!("line {number} does not go on with the one before"));
            }
            continue;
        }
        let joined = match begun.take() {
            Some(begun) => format!("{begun} {line}"),
            None => line.to_owned(),
        };
        if let Some(part) = joined.strip_suffix('\\') {
            begun = Some(part.trim_end_matches(blank).to_owned());
            continue;
        }
        let (name, value) = joined.split_once('=').ok_or_else(|| format!("line {number} has no ="))?;
        match name.trim() {
            "" => return Err(format!("line {number} has no name")),
            name if name == key => return Ok(Some(value.trim().to_owned()).filter(|value| !value.is_empty())),
            _ => {}
        }
    }
    match begun {
        Some(_) => Err("the last line does not go on".to_owned()),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn lines_name_values() {
        let text = "# comment\n\n  A = 1 \nB=x=y\nLONG=one \\\n  two\\\n three\nEMPTY=\n";
        let get = |key| parse(text, key).unwrap();
        assert_eq!(get("A").as_deref(), Some("1"));
        assert_eq!(get("B").as_deref(), Some("x=y"));
        assert_eq!(get("LONG").as_deref(), Some("one two three"));
        assert_eq!((get("EMPTY"), get("NONE")), (None, None));
        for broken in ["A", "=1", "A=1\\\n\nB=2", "A=1\\\n# no\n", "A=1\\"] {
            assert!(parse(broken, "B").is_err(), "{broken}");
        }
        assert_eq!(parse("A=1\nbroken", "A").unwrap().as_deref(), Some("1"), "what comes after is not looked at");
    }

    #[test]
    fn a_link_stays_in_the_volume() {
        let directory = tempfile::tempdir().unwrap();
        let volume = directory.path().join("volume");
        fs::create_dir_all(volume.join("below")).unwrap();
        fs::write(directory.path().join("env"), "A=outside").unwrap();
        fs::write(volume.join("env"), "A=inside").unwrap();
        symlink("/env", volume.join("below/rooted")).unwrap();
        symlink("../../../env", volume.join("below/up")).unwrap();
        for path in ["env", "below/rooted", "below/up"] {
            assert_eq!(value(&volume, path, "A").unwrap().as_deref(), Some("inside"), "{path}");
        }
        assert!(value(&volume, "below", "A").is_err() && value(&volume, "none", "A").is_err());
    }
}
