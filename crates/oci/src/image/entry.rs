//! One entry of a layer archive: where it goes and what it is.

use std::{
    ffi::{OsStr, OsString},
    io::Read,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

use tar::EntryType;

use super::layer::LayerError;
use crate::tree::components;

/// The mark of a deleted name: <https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts>
const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// AUFS' own bookkeeping, which means nothing here.
const AUFS: &[u8] = b".wh..wh.";

/// What an entry asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    File,
    Symlink(PathBuf),
    /// Path of the other name, from the root.
    HardLink(PathBuf),
    Character(u64),
    Block(u64),
    Fifo,
    /// Hides this name of lower layers.
    Whiteout,
    /// Hides everything that lower layers have in the directory.
    Opaque,
    /// Nothing to do.
    Skip,
}

/// The head of an entry.
#[derive(Debug)]
pub(crate) struct Head {
    /// Directory that it goes into, from the root.
    pub(crate) parent: PathBuf,
    /// Name in it; empty for the root itself.
    pub(crate) name: OsString,
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Seconds since 1970.
    pub(crate) mtime: i64,
    pub(crate) xattrs: Vec<(String, Vec<u8>)>,
}

impl Head {
    pub(crate) fn read<R: Read>(entry: &mut tar::Entry<'_, R>) -> Result<Self, LayerError> {
        let raw = entry.path_bytes().into_owned();
        let malformed = |why: &str| LayerError::Entry { path: String::from_utf8_lossy(&raw).into_owned(), why: why.to_owned() };
        let path = Path::new(OsStr::from_bytes(&raw));
        let mut names = components(path).ok_or_else(|| malformed("path leads out of the root"))?;
        let name = names.pop().unwrap_or_default();
        let header = entry.header();
        let old = header.as_old();
        let id = |value: std::io::Result<u64>, field: &[u8], what: &str| {
            // An empty field is zero; the library calls it malformed.
            let value = if field.iter().all(|byte| matches!(byte, 0 | b' ')) { Ok(0) } else { value };
            value.ok().and_then(|v| u32::try_from(v).ok()).ok_or_else(|| malformed(what))
        };
        let (uid, gid) = (id(header.uid(), &old.uid, "invalid user id")?, id(header.gid(), &old.gid, "invalid group id")?);
        let mode = header.mode().map_err(|_| malformed("invalid mode"))? & 0o7777;
        let mtime = i64::try_from(header.mtime().unwrap_or(0)).unwrap_or(0);
        let kind = match whiteout(&name) {
            Some((Kind::Whiteout, hidden)) => {
                return Ok(Self {
                    parent: names.iter().collect(),
                    name: hidden,
                    kind: Kind::Whiteout,
                    mode,
                    uid,
                    gid,
                    mtime,
                    xattrs: Vec::new(),
                });
            }
            Some((kind, _)) => kind,
            None => kind(entry, &malformed)?,
        };
        let xattrs = xattrs(entry)?;
        Ok(Self { parent: names.iter().collect(), name, kind, mode, uid, gid, mtime, xattrs })
    }
}

/// What a name that begins with the whiteout prefix means.
fn whiteout(name: &OsStr) -> Option<(Kind, OsString)> {
    let bytes = name.as_bytes();
    if bytes == OPAQUE {
        return Some((Kind::Opaque, OsString::new()));
    }
    if bytes.starts_with(AUFS) {
        return Some((Kind::Skip, OsString::new()));
    }
    match bytes.strip_prefix(WHITEOUT)? {
        b"" | b"." | b".." => Some((Kind::Skip, OsString::new())),
        hidden => Some((Kind::Whiteout, OsString::from_vec(hidden.to_vec()))),
    }
}

fn kind<R: Read>(entry: &tar::Entry<'_, R>, malformed: &impl Fn(&str) -> LayerError) -> Result<Kind, LayerError> {
    let header = entry.header();
    let link = || {
        let bytes = entry.link_name_bytes().filter(|name| !name.is_empty()).ok_or_else(|| malformed("link without a target"))?;
        Ok::<_, LayerError>(PathBuf::from(OsString::from_vec(bytes.into_owned())))
    };
    let device = || {
        let part =
            |value: std::io::Result<Option<u32>>| value.ok().flatten().map(u64::from).ok_or_else(|| malformed("invalid device"));
        Ok::<_, LayerError>(nix::sys::stat::makedev(part(header.device_major())?, part(header.device_minor())?))
    };
    Ok(match header.entry_type() {
        EntryType::Directory => Kind::Directory,
        // Archives older than POSIX say so with a slash.
        EntryType::Regular if entry.path_bytes().ends_with(b"/") => Kind::Directory,
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => Kind::File,
        EntryType::Symlink => Kind::Symlink(link()?),
        EntryType::Link => {
            let target = components(&link()?).ok_or_else(|| malformed("hard link leads out of the root"))?;
            Kind::HardLink(target.iter().collect())
        }
        EntryType::Char => Kind::Character(device()?),
        EntryType::Block => Kind::Block(device()?),
        EntryType::Fifo => Kind::Fifo,
        other => {
            tracing::debug!(?other, "archive entry of an unknown type left out");
            Kind::Skip
        }
    })
}

/// Extended attributes, without those that would steer overlayfs itself.
fn xattrs<R: Read>(entry: &mut tar::Entry<'_, R>) -> Result<Vec<(String, Vec<u8>)>, LayerError> {
    let Some(extensions) = entry.pax_extensions().map_err(LayerError::Read)? else { return Ok(Vec::new()) };
    let attributes = extensions.filter_map(|extension| {
        let extension = extension.ok()?;
        let name = extension.key().ok()?.strip_prefix("SCHILY.xattr.")?;
        let forbidden = name.starts_with("trusted.") || name.starts_with("user.overlay.");
        (!forbidden).then(|| (name.to_owned(), extension.value_bytes().to_vec()))
    });
    Ok(attributes.collect())
}
