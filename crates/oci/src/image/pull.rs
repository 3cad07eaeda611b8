//! From a name to an image that is here.

use std::{fs, io, path::PathBuf, sync::Arc};

use futures::{StreamExt as _, TryStreamExt as _};

use super::{
    ImageName, ImageRecord,
    content::ContentError,
    layer::{LayerError, unpack},
    manifest::{Contents, LayerSource, read},
    registry::{Credential, Registry, RegistryError},
    store::{ImageStore, StoreError, layer_name},
};

/// Layers fetched at once; as containerd's default.
const PARALLEL: usize = 3;

/// Why an image could not be pulled; with its sources the text is containerd's.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The registry does not know the name, refuses, or is out of reach.
    #[error("failed to resolve reference \"{reference}\"")]
    Resolve {
        /// The complete name.
        reference: String,
        /// Why.
        #[source]
        source: RegistryError,
    },
    /// A manifest or a configuration could not be fetched.
    #[error("failed to copy")]
    Registry(#[from] RegistryError),
    /// A manifest that makes no sense.
    #[error("failed to unmarshal manifest {digest}: {why}")]
    Manifest {
        /// Its digest.
        digest: String,
        /// What is wrong with it.
        why: String,
    },
    /// A configuration that makes no sense.
    #[error("failed to unmarshal config {digest}: {why}")]
    Config {
        /// Its digest.
        digest: String,
        /// What is wrong with it.
        why: String,
    },
    /// The disk is too full for the compressed layers, so that none was fetched.
    #[error("failed to copy: no space left on device: {wanted} bytes of layers, room for {left}")]
    NoRoom {
        /// Bytes to fetch.
        wanted: u64,
        /// Bytes that there is room for.
        left: u64,
    },
    /// An index without an image for this machine.
    #[error("no match for platform in manifest {0}: not found")]
    NoPlatform(String),
    /// A layer could not be fetched.
    #[error("failed to copy")]
    Content(#[from] ContentError),
    /// A layer could not be unpacked.
    #[error("failed to extract layer {diff_id}")]
    Extract {
        /// Digest of the uncompressed layer.
        diff_id: String,
        /// Why.
        #[source]
        source: LayerError,
    },
    /// The disk failed.
    #[error("failed to keep the image")]
    Io(#[from] io::Error),
}

impl PullError {
    fn is_refusal(&self) -> bool {
        match self {
            Self::Resolve { source, .. } | Self::Registry(source) | Self::Content(ContentError::Registry(source)) => {
                source.is_refusal()
            }
            _ => false,
        }
    }

    /// Whether fetched blobs are of no use to the next attempt, as it was not the registry that failed.
    fn is_ours(&self) -> bool {
        matches!(self, Self::Extract { .. } | Self::Io(_) | Self::Content(ContentError::Io { .. }))
    }
}

impl ImageStore {
    /// Fetches an image, or finds that the registry's digest for the name is here already and fetches nothing.
    ///
    /// Tries each credential, then none. Pulls of one name wait for each other, so that it is fetched once.
    ///
    /// # Errors
    /// [`StoreError::Pull`]; of several refused credentials, the first one's error.
    pub async fn pull(&self, name: &ImageName, credentials: &[Credential]) -> Result<ImageRecord, StoreError> {
        let _turn = self.turns.take(&name.to_string()).await;
        let mut first_refusal = None;
        for credential in credentials.iter().map(Some).chain([None]) {
            match self.pull_as(name, credential.cloned()).await {
                Err(error) if error.is_refusal() => first_refusal = first_refusal.or(Some(error)),
                Err(error) => return Err(StoreError::Pull { reference: name.to_string(), source: Box::new(error) }),
                Ok(record) => return Ok(record),
            }
        }
        let source = first_refusal.expect("the loop ends only after a refusal");
        Err(StoreError::Pull { reference: name.to_string(), source: Box::new(source) })
    }

    async fn pull_as(&self, name: &ImageName, credential: Option<Credential>) -> Result<ImageRecord, PullError> {
        let resolve = |source: RegistryError| PullError::Resolve { reference: name.to_string(), source };
        let endpoint = self.mirrors.endpoint(name.registry()).map_err(|e| resolve(e.into()))?;
        let registry = Registry::new(&self.clients, name.clone(), endpoint, credential).map_err(resolve)?;
        let resolved = registry.resolve().await.map_err(resolve)?;
        if let Some(known) = self.name_known(name, &resolved.digest)? {
            return Ok(known);
        }
        let contents = read(&registry, &resolved.digest, resolved.body).await?;
        let _active = self.active.enter();
        let kept = self.fetch_and_keep(name, &resolved.digest, &registry, contents).await;
        if kept.as_ref().is_err_and(PullError::is_ours) {
            // What came of it would keep a full disk full.
            self.drop_blobs()?;
        }
        kept
    }

    /// Fetches the layers that are not here, and unpacks them.
    async fn fetch_and_keep(
        &self,
        name: &ImageName,
        digest: &str,
        registry: &Registry,
        contents: Contents,
    ) -> Result<ImageRecord, PullError> {
        let missing: Vec<_> = contents.layers.iter().filter(|layer| !self.layer_dir(&layer.chain_id).exists()).cloned().collect();
        let wanted = missing.iter().map(|layer| layer.blob_size).sum();
        let left = self.content.room().left()?;
        if left < wanted {
            return Err(PullError::NoRoom { wanted, left });
        }
        let mut fetches = Vec::with_capacity(missing.len());
        for layer in &missing {
            fetches.push(self.content.fetch_once(&self.turns, registry, &layer.blob_digest, layer.blob_size));
        }
        futures::stream::iter(fetches).buffer_unordered(PARALLEL).try_collect::<Vec<_>>().await?;
        self.keep(name, digest, registry, contents).await
    }

    /// Unpacks what is missing and writes the record.
    async fn keep(
        &self,
        name: &ImageName,
        digest: &str,
        registry: &Registry,
        contents: Contents,
    ) -> Result<ImageRecord, PullError> {
        let turn = Arc::clone(&self.unpacking).lock_owned().await;
        for layer in contents.layers.iter().filter(|layer| !self.layer_dir(&layer.chain_id).exists()) {
            // Normally here since `pull_as`; a layer removed in between is fetched again.
            self.content.fetch(registry, &layer.blob_digest, layer.blob_size).await?;
        }
        let store = self.clone();
        let layers = contents.layers.clone();
        let unpack = move || store.unpack_missing(&layers).map(|()| turn);
        // Held until the record says that somebody needs the layers.
        let _turn = tokio::task::spawn_blocking(unpack).await.map_err(io::Error::other)??;
        self.content.put(&contents.config_digest, &contents.config_bytes)?;
        let record = ImageRecord {
            id: contents.config_digest,
            tags: if name.digest().is_none() { vec![name.to_string()] } else { Vec::new() },
            digests: vec![name.with_digest(digest)],
            size: contents.layers.iter().map(|l| l.blob_size).sum::<u64>() + contents.config_bytes.len() as u64,
            chain_ids: contents.layers.into_iter().map(|l| l.chain_id).collect(),
            config: contents.config,
        };
        tracing::debug!(image = %name, id = record.id, manifest = contents.manifest_digest, "image pulled");
        let record = self.record(record)?;
        self.drop_blobs()?;
        Ok(record)
    }

    /// Unpacks the layers that are not here, each beside its place; all are renamed into place once all are on the disk.
    pub(super) fn unpack_missing(&self, layers: &[LayerSource]) -> Result<(), PullError> {
        let mut ready = Vec::new();
        let unpacked = self.unpack_beside(layers, &mut ready);
        if unpacked.is_err() {
            for (beside, _) in &ready {
                let _ = fs::remove_dir_all(beside);
            }
            return unpacked;
        }
        if !ready.is_empty() {
            nix::unistd::syncfs(fs::File::open(&self.layers)?).map_err(io::Error::from)?;
        }
        for (beside, place) in ready {
            fs::rename(beside, place)?;
        }
        Ok(())
    }

    /// Pushes each layer's directory, and its place, before it is filled.
    fn unpack_beside(&self, layers: &[LayerSource], ready: &mut Vec<(PathBuf, PathBuf)>) -> Result<(), PullError> {
        let mut lowers: Vec<PathBuf> = Vec::new();
        for layer in layers {
            let place = self.layer_dir(&layer.chain_id);
            if place.exists() {
                lowers.insert(0, place.join("fs"));
                continue;
            }
            let beside = self.layers.join(format!("{}.tmp", layer_name(&layer.chain_id)));
            if beside.exists() {
                fs::remove_dir_all(&beside)?;
            }
            ready.push((beside.clone(), place));
            fs::create_dir_all(beside.join("fs"))?;
            let blob = self.content.path(&layer.blob_digest)?;
            unpack(&blob, &layer.diff_id, &beside.join("fs"), &lowers, self.limits)
                .map_err(|source| PullError::Extract { diff_id: layer.diff_id.clone(), source })?;
            lowers.insert(0, beside.join("fs"));
        }
        Ok(())
    }
}
