//! Where a container is in its life: written by its shim, read by whoever runs the machine now.

use std::{
    fs::{self, File},
    io,
    path::Path,
    thread,
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    durable::write_atomically,
    process::{ProcessId, boot_id},
};

/// Name of the file in the container's directory.
const FILE: &str = "state.json";

/// Name of the file that a shim begins with.
const CLAIM: &str = "claimed";

/// A shim takes some tens of milliseconds; one that takes ten seconds will not come to an end.
const START_WAITS: u32 = 2000;
const START_WAIT: Duration = Duration::from_millis(5);

/// As runc and containerd have it for a container that could not be started.
pub(crate) const START_ERROR_EXIT_CODE: i32 = 128;

/// As the kubelet has it for a container whose end nobody saw.
pub(crate) const UNKNOWN_EXIT_CODE: i32 = 137;

/// Where a container is in its life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Made, not started.
    Created,
    /// Running.
    Running {
        /// When it was started.
        started_at: Timestamp,
    },
    /// Ended.
    Exited {
        /// When it was started; when it was to be started, if that failed.
        started_at: Timestamp,
        /// When it ended.
        finished_at: Timestamp,
        /// Exit code; 128 + signal for a killed one; 128 if it could not be started; 137 if nobody saw the end.
        exit_code: i32,
        /// Killed by the kernel for lack of memory.
        oom_killed: bool,
        /// What kept it from starting, or why its end is not known; empty otherwise.
        message: String,
    },
}

/// What the shim writes down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// The process ids below are of this boot.
    pub(crate) boot_id: String,
    /// The container's shim.
    pub(crate) shim: ProcessId,
    /// The container's first process.
    pub(crate) init: Option<ProcessId>,
    pub(crate) phase: Phase,
}

impl State {
    pub(crate) fn of_this_shim() -> io::Result<Self> {
        let own = i32::try_from(std::process::id()).map_err(io::Error::other)?;
        Ok(Self { boot_id: boot_id(), shim: ProcessId::of(own)?, init: None, phase: Phase::Created })
    }

    /// `None` when the container was never started.
    pub(crate) fn read(dir: &Path) -> io::Result<Option<Self>> {
        match fs::read(dir.join(FILE)) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Says that a shim is at work on a container, and makes sure that it is the only one ever.
    pub(crate) fn claim(dir: &Path) -> io::Result<()> {
        File::create_new(dir.join(CLAIM)).map(drop)
    }

    /// What a shim, if there ever was one, has made of its container: waits until it has started it, or is gone.
    pub(crate) fn once_started(dir: &Path) -> io::Result<Option<Self>> {
        if !dir.join(CLAIM).exists() {
            return Ok(None);
        }
        for _ in 0..START_WAITS {
            let state = Self::read(dir)?;
            match &state {
                Some(Self { phase: Phase::Created, shim, .. }) if shim.open()?.is_some() => {}
                // Claimed just now, and nothing written yet.
                None => {}
                _ => return Ok(state),
            }
            thread::sleep(START_WAIT);
        }
        Self::read(dir)
    }

    /// Written so that a killed process leaves the old state or the new one.
    pub(crate) fn write(&self, dir: &Path) -> io::Result<()> {
        let beside = dir.join("state.tmp");
        fs::write(&beside, serde_json::to_vec(self)?)?;
        fs::rename(beside, dir.join(FILE))
    }

    /// As [`State::write`], and on the disk when it returns: an exit code that was seen once is never forgotten.
    pub(crate) fn write_durably(&self, dir: &Path) -> io::Result<()> {
        write_atomically(&dir.join(FILE), &serde_json::to_vec(self)?)
    }

    /// Whether the processes can still be there at all.
    pub(crate) fn is_of_this_boot(&self) -> bool {
        self.boot_id == boot_id()
    }

    /// Turns a state whose shim is gone into the end of the container; `why` nobody saw it.
    pub(crate) fn end_unseen(&mut self, why: &str) {
        let now = Timestamp::now();
        let started_at = match self.phase {
            Phase::Created => now,
            Phase::Running { started_at } => started_at,
            Phase::Exited { .. } => return,
        };
        self.phase = Phase::Exited {
            started_at,
            finished_at: now,
            exit_code: UNKNOWN_EXIT_CODE,
            oom_killed: false,
            message: why.to_owned(),
        };
    }
}
