//! Makes an image from files on this machine, without a registry.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use oci_spec::image::{Arch, Config, ImageConfiguration, ImageConfigurationBuilder, Os, RootFsBuilder};
use sha2::{Digest as _, Sha256};

use super::{
    ImageName, ImageRecord,
    content::{digest_of, format_digest},
    manifest::LayerSource,
    pull::PullError,
    store::{ImageStore, StoreError},
};

/// One thing to put into a built image; parents are made when they are not named.
#[derive(Debug, Clone)]
pub struct BuildEntry {
    /// Path inside, with or without a leading slash.
    pub path: PathBuf,
    /// Permission bits, such as `0o755`.
    pub mode: u32,
    /// What it is.
    pub source: BuildSource,
}

/// What a [`BuildEntry`] is.
#[derive(Debug, Clone)]
pub enum BuildSource {
    /// A file with these bytes.
    Bytes(Vec<u8>),
    /// A file with the content of one on this machine.
    File(PathBuf),
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink(PathBuf),
}

impl ImageStore {
    /// Makes an image of one layer and gives it that name. The same input makes the same image: entries have no time and
    /// belong to root.
    ///
    /// # Errors
    /// [`StoreError::Build`] when a file cannot be read or the disk fails.
    pub async fn build(&self, name: &ImageName, entries: Vec<BuildEntry>, config: Config) -> Result<ImageRecord, StoreError> {
        let turn = Arc::clone(&self.unpacking).lock_owned().await;
        let (store, image) = (self.clone(), name.clone());
        let build = move || {
            let _turn = turn;
            store.build_blocking(&image, &entries, config)
        };
        let built = tokio::task::spawn_blocking(build).await;
        let built = built.unwrap_or_else(|e| Err(PullError::Io(io::Error::other(e))));
        built.map_err(|error| StoreError::Build { reference: name.to_string(), source: Box::new(error) })
    }

    fn build_blocking(&self, name: &ImageName, entries: &[BuildEntry], config: Config) -> Result<ImageRecord, PullError> {
        let archive = self.content.scratch("build");
        let diff_id = write_archive(&archive, entries)?;
        let blob_size = fs::metadata(&archive)?.len();
        fs::rename(&archive, self.content.path(&diff_id)?)?;
        let layer = LayerSource { blob_digest: diff_id.clone(), blob_size, diff_id: diff_id.clone(), chain_id: diff_id.clone() };
        self.unpack_missing(std::slice::from_ref(&layer))?;
        fs::remove_file(self.content.path(&diff_id)?)?;
        let config = configuration(config, diff_id.clone()).map_err(io::Error::other)?;
        let bytes = serde_json::to_vec(&config).map_err(io::Error::other)?;
        let id = digest_of(&bytes);
        self.content.put(&id, &bytes)?;
        let record = ImageRecord {
            digests: vec![name.with_digest(&id)],
            id,
            tags: vec![name.to_string()],
            size: blob_size + bytes.len() as u64,
            chain_ids: vec![diff_id],
            config,
        };
        Ok(self.record(record)?)
    }
}

fn configuration(config: Config, diff_id: String) -> Result<ImageConfiguration, oci_spec::OciSpecError> {
    let rootfs = RootFsBuilder::default().typ("layers").diff_ids(vec![diff_id]).build()?;
    ImageConfigurationBuilder::default().architecture(Arch::default()).os(Os::Linux).config(config).rootfs(rootfs).build()
}

/// Writes the layer and returns its digest.
fn write_archive(path: &Path, entries: &[BuildEntry]) -> io::Result<String> {
    let file = Hashed { inner: io::BufWriter::with_capacity(1 << 20, File::create(path)?), hasher: Sha256::new() };
    let mut archive = tar::Builder::new(file);
    for entry in entries {
        let inside = entry.path.strip_prefix("/").unwrap_or(&entry.path);
        let mut header = tar::Header::new_gnu();
        header.set_mode(entry.mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(0);
        match &entry.source {
            BuildSource::Bytes(bytes) => {
                header.set_size(bytes.len() as u64);
                archive.append_data(&mut header, inside, bytes.as_slice())?;
            }
            BuildSource::File(source) => {
                let file = File::open(source)?;
                header.set_size(file.metadata()?.len());
                archive.append_data(&mut header, inside, file)?;
            }
            BuildSource::Directory => {
                header.set_entry_type(tar::EntryType::Directory);
                archive.append_data(&mut header, inside, io::empty())?;
            }
            BuildSource::Symlink(target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                archive.append_link(&mut header, inside, target)?;
            }
        }
    }
    let mut file = archive.into_inner()?;
    file.flush()?;
    Ok(format_digest(file.hasher))
}

/// Hashes what is written.
struct Hashed<W> {
    inner: W,
    hasher: Sha256,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
