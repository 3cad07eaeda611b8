//! From a digest to the layers and the configuration of an image for this machine.

use bytes::Bytes;
use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex, ImageManifest};
use sha2::{Digest as _, Sha256};

use super::{
    content::format_digest,
    platform,
    pull::PullError,
    registry::{MANIFEST_BYTES, Registry},
};

/// Docker refuses more; overlayfs and a page of mount options end soon after.
const LAYERS: usize = 127;

/// An index may point to an index; nobody nests deeper.
const INDEX_DEPTH: u32 = 3;

/// What an image is made of.
#[derive(Debug)]
pub(crate) struct Contents {
    /// The manifest for this platform.
    pub(crate) manifest_digest: String,
    pub(crate) config_digest: String,
    pub(crate) config_bytes: Bytes,
    pub(crate) config: ImageConfiguration,
    pub(crate) layers: Vec<LayerSource>,
}

/// A layer in a registry.
#[derive(Debug, Clone)]
pub(crate) struct LayerSource {
    pub(crate) blob_digest: String,
    pub(crate) blob_size: u64,
    /// Digest of the uncompressed archive.
    pub(crate) diff_id: String,
    /// Digest of this layer and all below it.
    pub(crate) chain_id: String,
}

/// Reads manifest and configuration; `body` is the manifest when it is known already.
pub(crate) async fn read(registry: &Registry, digest: &str, body: Option<Bytes>) -> Result<Contents, PullError> {
    let mut digest = digest.to_owned();
    let mut body = match body {
        Some(body) => body,
        None => registry.manifest(&digest).await?,
    };
    for _ in 0..INDEX_DEPTH {
        match parse(&body, &digest)? {
            Either::Manifest(manifest) => return with_config(registry, digest, &manifest).await,
            Either::Index(index) => {
                let chosen = platform::choose(&index).ok_or_else(|| PullError::NoPlatform(digest.clone()))?;
                digest = chosen.digest().to_string();
                body = registry.manifest(&digest).await?;
            }
        }
    }
    Err(PullError::Manifest { digest, why: "index nested too deeply".to_owned() })
}

enum Either {
    Manifest(Box<ImageManifest>),
    Index(Box<ImageIndex>),
}

fn parse(body: &[u8], digest: &str) -> Result<Either, PullError> {
    let error = |why: String| PullError::Manifest { digest: digest.to_owned(), why };
    let value: serde_json::Value = serde_json::from_slice(body).map_err(|e| error(e.to_string()))?;
    if value.get("schemaVersion").and_then(serde_json::Value::as_u64) != Some(2) {
        return Err(error(
            "media type \"application/vnd.docker.distribution.manifest.v1+prettyjws\" is no longer supported".to_owned(),
        ));
    }
    // As containerd: both at once would mean different images to different clients.
    match (value.get("manifests").is_some(), value.get("layers").is_some() || value.get("config").is_some()) {
        (true, true) => Err(error("both manifests and layers: ambiguous".to_owned())),
        (true, false) => {
            serde_json::from_value(value).map(|index| Either::Index(Box::new(index))).map_err(|e| error(e.to_string()))
        }
        (false, _) => {
            serde_json::from_value(value).map(|manifest| Either::Manifest(Box::new(manifest))).map_err(|e| error(e.to_string()))
        }
    }
}

async fn with_config(registry: &Registry, manifest_digest: String, manifest: &ImageManifest) -> Result<Contents, PullError> {
    let error = |why: String| PullError::Manifest { digest: manifest_digest.clone(), why };
    let config_digest = manifest.config().digest().to_string();
    let config_bytes = registry.small_blob(&config_digest, MANIFEST_BYTES).await?;
    let config: ImageConfiguration = serde_json::from_slice(&config_bytes)
        .map_err(|e| PullError::Config { digest: config_digest.clone(), why: e.to_string() })?;
    let layers = layers(manifest.layers(), config.rootfs().diff_ids()).map_err(error)?;
    Ok(Contents { config_digest, config_bytes, config, layers, manifest_digest })
}

fn layers(descriptors: &[Descriptor], diff_ids: &[String]) -> Result<Vec<LayerSource>, String> {
    if descriptors.len() != diff_ids.len() {
        return Err(format!("mismatched image rootfs and manifest layers: {} and {}", diff_ids.len(), descriptors.len()));
    }
    if descriptors.len() > LAYERS {
        return Err(format!("max depth exceeded: {} layers, at most {LAYERS}", descriptors.len()));
    }
    let sources =
        descriptors.iter().zip(chain_ids(diff_ids)).zip(diff_ids).map(|((descriptor, chain_id), diff_id)| LayerSource {
            blob_digest: descriptor.digest().to_string(),
            blob_size: descriptor.size(),
            diff_id: diff_id.clone(),
            chain_id,
        });
    Ok(sources.collect())
}

/// Names of the stacks that the layers make, from the lowest: <https://github.com/opencontainers/image-spec/blob/main/config.md#layer-chainid>
pub(crate) fn chain_ids(diff_ids: &[String]) -> Vec<String> {
    let mut ids: Vec<String> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        ids.push(match ids.last() {
            None => diff_id.clone(),
            Some(below) => format_digest(Sha256::new_with_prefix(format!("{below} {diff_id}"))),
        });
    }
    ids
}
