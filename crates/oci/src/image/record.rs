//! What is written down about an image that is here.

use oci_spec::image::ImageConfiguration;
use serde::{Deserialize, Serialize};

/// One image on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// Digest of the configuration, `sha256:…`.
    pub id: String,
    /// Complete names with a tag: `docker.io/library/nginx:1.14.2`.
    pub tags: Vec<String>,
    /// Complete names with the digest of the manifest or index that was asked for.
    pub digests: Vec<String>,
    /// Bytes of the compressed layers and the configuration, which is what upstream reports.
    pub size: u64,
    /// Stacks of layers, the lowest first.
    pub chain_ids: Vec<String>,
    /// The configuration.
    pub config: ImageConfiguration,
}

impl ImageRecord {
    /// `User` of the configuration; empty for root.
    pub fn user(&self) -> &str {
        self.config.config().as_ref().and_then(|c| c.user().as_deref()).unwrap_or_default()
    }

    /// Whether it is known by that complete name, or by that id.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        self.id == name || self.tags.iter().chain(&self.digests).any(|known| known == name)
    }
}
