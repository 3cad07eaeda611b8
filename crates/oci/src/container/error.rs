//! Why something cannot be done with containers.

use std::io;

use super::{spec::SpecError, user::UserError};
use crate::{image::StoreError, seccomp::SeccompError};

/// Why the runtime could not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// Images.
    #[error(transparent)]
    Images(#[from] StoreError),
    /// No such sandbox or container.
    #[error("{what} {id} not found")]
    NotFound {
        /// `sandbox` or `container`.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// The image has no such user.
    #[error(transparent)]
    User(#[from] UserError),
    /// The container's specification makes no sense.
    #[error("failed to generate container spec")]
    Spec(#[from] SpecError),
    /// Its seccomp profile cannot be used.
    #[error("failed to create containerd container")]
    Seccomp(#[from] SeccompError),
    /// The container could not be started; the text is the message of its status too.
    #[error("{0}")]
    Start(String),
    /// It uses more memory than it is to have.
    #[error("memory limit ({limit}) below current usage ({usage})")]
    MemoryInUse {
        /// Bytes that it is to have.
        limit: i64,
        /// Bytes that it uses.
        usage: u64,
    },
    /// It did not end although it was killed.
    #[error("container {0} does not end after SIGKILL")]
    Unkillable(String),
    /// A command in a container did not end in time.
    #[error("command timed out after {0:?}")]
    Timeout(std::time::Duration),
    /// The disk or the kernel failed.
    #[error("{doing}")]
    Io {
        /// What was being done.
        doing: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}
