//! The images of this machine on disk: records, unpacked layers, and who needs which.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs, io,
    ops::Deref,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::OwnedMutexGuard;

use super::{ImageName, ImageRecord, LayerLimits, MirrorTable, content::Content, pull::PullError, registry::Clients};
use crate::durable::write_atomically;

/// Why the store could not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// An image could not be pulled.
    #[error("failed to pull and unpack image \"{reference}\"")]
    Pull {
        /// The complete name.
        reference: String,
        /// Why.
        #[source]
        source: Box<PullError>,
    },
    /// An image could not be built.
    #[error("failed to build image \"{reference}\"")]
    Build {
        /// The complete name.
        reference: String,
        /// Why.
        #[source]
        source: Box<PullError>,
    },
    /// There is no such image.
    #[error("image {0:?}: not found")]
    NotFound(String),
    /// The disk failed.
    #[error("image store {path}")]
    Io {
        /// The store's directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The images below one directory; clones share it.
#[derive(Debug, Clone)]
pub struct ImageStore(Arc<Inner>);

/// What [`ImageStore`] shares.
#[derive(Debug)]
pub struct Inner {
    dir: PathBuf,
    records_dir: PathBuf,
    pub(super) layers: PathBuf,
    pub(super) content: Content,
    pub(super) clients: Clients,
    pub(super) mirrors: MirrorTable,
    pub(super) limits: LayerLimits,
    /// One pull at a time for a name, one fetch at a time for a digest.
    pub(super) turns: Turns,
    /// Layers are unpacked, and blobs and layers removed, one image at a time. The guard goes along into the thread that does
    /// it: whoever waits for it may be gone before it is done.
    pub(super) unpacking: Arc<tokio::sync::Mutex<()>>,
    /// Pulls that may have fetched blobs and not yet unpacked them.
    pub(super) active: Active,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// By id.
    records: BTreeMap<String, ImageRecord>,
    /// Layers that containers stand on, by container.
    pins: BTreeMap<String, Vec<String>>,
}

impl Deref for ImageStore {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

/// Name of a layer's directory: 96 bits of the digest keep 127 layers within the page that mount options may take.
pub(crate) fn layer_name(chain_id: &str) -> &str {
    let hex = chain_id.strip_prefix("sha256:").unwrap_or(chain_id);
    hex.get(..24).unwrap_or(hex)
}

impl ImageStore {
    /// Opens the store below `dir`; what a crash left half done is removed.
    ///
    /// # Errors
    /// When the directory cannot be made, read or cleaned.
    pub fn open(dir: &Path, mirrors: MirrorTable, limits: LayerLimits) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Io { path: dir.to_owned(), source };
        let (records_dir, layers) = (dir.join("images"), dir.join("layers"));
        fs::create_dir_all(&records_dir).map_err(failed)?;
        fs::create_dir_all(&layers).map_err(failed)?;
        let content = Content::open(&dir.join("content")).map_err(failed)?;
        remove_leftovers(&layers).map_err(failed)?;
        let store = Self(Arc::new(Inner {
            dir: dir.to_owned(),
            known: Mutex::new(Known { records: read_records(&records_dir, &layers).map_err(failed)?, pins: BTreeMap::new() }),
            records_dir,
            layers,
            content,
            clients: Clients::default(),
            mirrors,
            limits,
            turns: Turns::default(),
            unpacking: Arc::default(),
            active: Active::default(),
        }));
        Ok(store)
    }

    /// The image of that name, complete or not, or of that id.
    pub fn get(&self, name: &str) -> Option<ImageRecord> {
        let complete = name.parse::<ImageName>().map(|n| n.to_string()).unwrap_or_default();
        let known = self.known();
        known.records.values().find(|r| r.is_called(name) || r.is_called(&complete)).cloned()
    }

    /// All images, by id.
    pub fn list(&self) -> Vec<ImageRecord> {
        self.known().records.values().cloned().collect()
    }

    /// Forgets an image with all its names and removes the layers that nobody else needs; succeeds when it is gone already.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn remove(&self, id: &str) -> Result<(), StoreError> {
        let turn = Arc::clone(&self.unpacking).lock_owned().await;
        if let Some(record) = self.get(id) {
            let removed = fs::remove_file(self.record_path(&record.id));
            removed.or_else(ignore_missing).map_err(|source| self.failed(source))?;
            self.known().records.remove(&record.id);
        }
        let store = self.clone();
        let prune = move || {
            let _turn = turn;
            store.prune()
        };
        let pruned = tokio::task::spawn_blocking(prune).await;
        pruned.unwrap_or_else(|e| Err(io::Error::other(e))).map_err(|source| self.failed(source))
    }

    /// Directories of an image's layers, the uppermost first, kept until [`ImageStore::unpin`] of the same owner.
    ///
    /// # Errors
    /// When there is no image of that id.
    pub fn pin(&self, owner: &str, image_id: &str) -> Result<(ImageRecord, Vec<PathBuf>), StoreError> {
        let mut known = self.known();
        let record = known.records.get(image_id).cloned().ok_or_else(|| StoreError::NotFound(image_id.to_owned()))?;
        known.pins.insert(owner.to_owned(), record.chain_ids.clone());
        drop(known);
        let dirs = record.chain_ids.iter().rev().map(|id| self.layer_dir(id).join("fs")).collect();
        Ok((record, dirs))
    }

    /// Keeps layers that a container from before a restart stands on.
    pub fn pin_layers(&self, owner: &str, chain_ids: Vec<String>) {
        self.known().pins.insert(owner.to_owned(), chain_ids);
    }

    /// Lets go of the layers of that owner; they are removed with the next image.
    pub fn unpin(&self, owner: &str) {
        self.known().pins.remove(owner);
    }

    /// Directory of the unpacked layers.
    pub fn layers_dir(&self) -> &Path {
        &self.layers
    }

    pub(super) fn layer_dir(&self, chain_id: &str) -> PathBuf {
        self.layers.join(layer_name(chain_id))
    }

    /// If an image with that manifest is here, it gets the name too.
    pub(super) fn name_known(&self, name: &ImageName, manifest_digest: &str) -> io::Result<Option<ImageRecord>> {
        let suffix = format!("@{manifest_digest}");
        let found = self.known().records.values().find(|r| r.digests.iter().any(|d| d.ends_with(&suffix))).cloned();
        let Some(mut record) = found else { return Ok(None) };
        record.tags = if name.digest().is_none() { vec![name.to_string()] } else { Vec::new() };
        record.digests = vec![name.with_digest(manifest_digest)];
        self.record(record).map(Some)
    }

    /// Writes a record down. Names that it has are taken from other images; names that the image had stay.
    pub(super) fn record(&self, mut record: ImageRecord) -> io::Result<ImageRecord> {
        let mut known = self.known();
        if let Some(before) = known.records.get(&record.id) {
            merge(&mut record.tags, &before.tags);
            merge(&mut record.digests, &before.digests);
            if *before == record {
                return Ok(record);
            }
        }
        self.write_record(&record)?;
        for other in known.records.values_mut().filter(|other| other.id != record.id) {
            let count = other.tags.len();
            other.tags.retain(|tag| !record.tags.contains(tag));
            if other.tags.len() < count {
                self.write_record(other)?;
            }
        }
        known.records.insert(record.id.clone(), record.clone());
        Ok(record)
    }

    /// Removes the compressed layers of a pull that is done, unless another one may need its own: then that one does it.
    pub(super) fn drop_blobs(&self) -> io::Result<()> {
        let known = self.known();
        match self.active.count() {
            0 | 1 => self.content.retain(|digest| known.records.contains_key(digest)),
            _ => Ok(()),
        }
    }

    /// Removes layers and blobs that no image and no container needs.
    pub(super) fn prune(&self) -> io::Result<()> {
        let mut doomed = Vec::new();
        {
            let known = self.known();
            let chains = known.records.values().flat_map(|r| &r.chain_ids).chain(known.pins.values().flatten());
            let keep: BTreeSet<_> = chains.map(|id| layer_name(id).to_owned()).collect();
            for entry in fs::read_dir(&self.layers)? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                if !keep.contains(&name) {
                    // Renamed first: a half-removed layer must never look like a whole one.
                    let grave = self.layers.join(format!("{name}.gone"));
                    fs::rename(entry.path(), &grave)?;
                    doomed.push(grave);
                }
            }
            if self.active.count() == 0 {
                self.content.retain(|digest| known.records.contains_key(digest))?;
            }
        }
        doomed.iter().try_for_each(|grave| fs::remove_dir_all(grave).or_else(ignore_missing))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record_path(&self, id: &str) -> PathBuf {
        self.records_dir.join(format!("{}.json", id.strip_prefix("sha256:").unwrap_or(id)))
    }

    fn write_record(&self, record: &ImageRecord) -> io::Result<()> {
        write_atomically(&self.record_path(&record.id), &serde_json::to_vec(record)?)
    }

    fn failed(&self, source: io::Error) -> StoreError {
        StoreError::Io { path: self.dir.clone(), source }
    }
}

fn merge(names: &mut Vec<String>, more: &[String]) {
    names.extend(more.iter().cloned());
    names.sort();
    names.dedup();
}

fn ignore_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// Layers that were being unpacked or removed.
fn remove_leftovers(layers: &Path) -> io::Result<()> {
    for entry in fs::read_dir(layers)? {
        let path = entry?.path();
        if path.extension().is_some() {
            fs::remove_dir_all(path)?;
        }
    }
    Ok(())
}

/// The records that can be read and whose layers are all here; others count as not pulled.
fn read_records(dir: &Path, layers: &Path) -> io::Result<BTreeMap<String, ImageRecord>> {
    let mut records = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_none_or(|e| e != "json") {
            fs::remove_file(path)?;
            continue;
        }
        match serde_json::from_slice::<ImageRecord>(&fs::read(&path)?) {
            Ok(record) if record.chain_ids.iter().all(|id| layers.join(layer_name(id)).exists()) => {
                records.insert(record.id.clone(), record);
            }
            Ok(record) => tracing::warn!(id = record.id, "image without its layers, forgotten"),
            Err(error) => tracing::warn!(path = %path.display(), %error, "unreadable image record, forgotten"),
        }
    }
    Ok(records)
}

/// Lets one at a time do something under a name.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>);

impl Turns {
    pub(super) async fn take(&self, key: &str) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| turn.strong_count() > 0);
            match turns.get(key).and_then(Weak::upgrade) {
                Some(turn) => turn,
                None => {
                    let turn = Arc::default();
                    turns.insert(key.to_owned(), Arc::downgrade(&turn));
                    turn
                }
            }
        };
        turn.lock_owned().await
    }
}

/// Counts pulls under way.
#[derive(Debug, Default)]
pub(super) struct Active(Arc<AtomicUsize>);

impl Active {
    pub(super) fn enter(&self) -> ActiveGuard {
        self.0.fetch_add(1, Ordering::SeqCst);
        ActiveGuard(Arc::clone(&self.0))
    }

    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// One pull under way.
#[derive(Debug)]
pub(super) struct ActiveGuard(Arc<AtomicUsize>);

impl Drop for ActiveGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
