//! Images: what they are called, where they come from, how they are kept.

mod apply;
mod authorize;
mod build;
mod content;
mod entry;
mod layer;
mod manifest;
mod mirror;
mod name;
mod platform;
mod pull;
mod record;
mod registry;
mod room;
mod store;

pub use build::{BuildEntry, BuildSource};
pub use content::ContentError;
pub(crate) use content::digest_of;
pub use layer::{LayerError, LayerLimits};
pub use mirror::{MirrorError, MirrorTable};
pub use name::{ImageName, NameError};
pub use oci_spec::image::{Config, ImageConfiguration};
pub use pull::PullError;
pub use record::ImageRecord;
pub use registry::{Credential, RegistryError};
pub(crate) use store::layer_name;
pub use store::{ImageStore, StoreError};
