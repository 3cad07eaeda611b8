//! What is written down about a container when it is made.

use std::{fs, io, path::Path};

use jiff::Timestamp;
use oci_spec::runtime::Spec;
use serde::{Deserialize, Serialize};

use super::{ContainerSpec, Identity};

/// Name of the file in the container's directory.
const FILE: &str = "container.json";

/// A container as it was made. Its directory has besides: `config.json` (for the runtime), `upper`, `work`, `rootfs`,
/// `state.json` once it was started, `shim.log`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) sandbox_id: String,
    pub(crate) created_at: Timestamp,
    pub(crate) spec: ContainerSpec,
    /// Stacks of layers that it stands on, the lowest first.
    pub(crate) chain_ids: Vec<String>,
    /// Directory with the layers.
    pub(crate) layers_dir: std::path::PathBuf,
    /// Signal that asks it to end.
    pub(crate) stop_signal: i32,
    /// Its control group.
    pub(crate) cgroup: String,
    /// Who its first process is; an earlier version did not write that down.
    #[serde(default)]
    pub(crate) identity: Option<Identity>,
}

impl Record {
    pub(crate) fn read(dir: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&fs::read(dir.join(FILE))?)?)
    }

    /// Writes the record and the runtime's configuration. The record comes last: without it the directory is a leftover.
    pub(crate) fn write(&self, dir: &Path, spec: &Spec) -> io::Result<()> {
        fs::write(dir.join("config.json"), serde_json::to_vec(spec)?)?;
        self.keep(dir)
    }

    /// Writes the record alone, over the one that is there.
    pub(crate) fn keep(&self, dir: &Path) -> io::Result<()> {
        let beside = dir.join("container.tmp");
        fs::write(&beside, serde_json::to_vec(self)?)?;
        fs::rename(beside, dir.join(FILE))
    }

    /// Makes the rest of the directory a leftover, so that a kill in the middle of its removal leaves no torn container.
    pub(crate) fn remove(dir: &Path) -> io::Result<()> {
        fs::remove_file(dir.join(FILE))
    }
}
