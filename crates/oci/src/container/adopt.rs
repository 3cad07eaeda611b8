//! Finds what an earlier process made, and settles what ended while nobody looked.

use std::{fs, io, os::fd::OwnedFd, path::Path, sync::Arc};

use nix::libc;
use tokio::sync::watch;

use super::{
    Phase,
    record::Record,
    rootfs,
    runtime::{Entry, Exited, Inner},
    sandbox::{Sandbox, destroy_dir},
    state::State,
};

/// Why the end of a container is not known: its shim was killed.
const SHIM_ENDED: &str = "The container was killed, as the process that watched it ended; how it would have ended is not known";
/// The same of one that ended while no main process ran.
const NOT_FOUND: &str = "The container could not be located when the machine was restarted; it used to be running";

impl Inner {
    /// What a shim wrote last; a shim that ended without a word takes its container with it.
    pub(super) fn shim_ended(&self, id: &str) {
        let Ok(entry) = self.entry(id) else { return };
        let already = matches!(entry.phase(), Phase::Exited { .. });
        let dir = self.container_dir(id);
        let Some(mut state) = State::read(&dir).ok().flatten().or(entry.state) else { return };
        if !matches!(state.phase, Phase::Exited { .. }) {
            tracing::warn!(container = id, "shim ended before its container");
            self.settle(&dir, &entry.record, &mut state, SHIM_ENDED);
        }
        self.set_state(id, state);
        if !already {
            let sandbox_id = entry.record.sandbox_id.clone();
            // Nobody may be listening.
            let _ = self.exits.send(Exited { container_id: id.to_owned(), sandbox_id });
        }
    }

    /// Has [`Inner::shim_ended`] called when the shim ends.
    pub(super) fn watch(&self, id: &str, shim: OwnedFd) -> io::Result<()> {
        self.watcher.get().expect("set by open").watch(id, shim)
    }

    /// Ends a container whose shim is gone, and writes that down.
    fn settle(&self, dir: &Path, record: &Record, state: &mut State, why: &str) {
        if let Some(init) = state.init.filter(|_| state.is_of_this_boot()) {
            let _ = init.signal(libc::SIGKILL);
        }
        self.cgroups.kill(&record.cgroup);
        state.end_unseen(why);
        if let Err(error) = state.write_durably(dir) {
            tracing::warn!(container = record.id, %error, "the end of the container could not be written down");
        }
        rootfs::unmount_root(dir);
        self.cgroups.remove(&record.cgroup);
    }

    /// Finds what an earlier process made.
    pub(super) fn adopt(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.sandboxes_dir)? {
            let dir = entry?.path();
            match Sandbox::read(&dir) {
                Ok(sandbox) => drop(self.known().sandboxes.insert(sandbox.id.clone(), sandbox)),
                // Killed while it was being made: nobody knows of it.
                Err(_) => destroy_dir(&dir)?,
            }
        }
        for entry in fs::read_dir(&self.containers_dir)? {
            let dir = entry?.path();
            match Record::read(&dir) {
                Ok(record) => self.adopt_container(&dir, record)?,
                // Killed while it was being made or removed.
                Err(_) => {
                    rootfs::unmount_root(&dir);
                    fs::remove_dir_all(&dir)?;
                }
            }
        }
        Ok(())
    }

    fn adopt_container(&self, dir: &Path, record: Record) -> io::Result<()> {
        let id = record.id.clone();
        self.images.pin_layers(&id, record.chain_ids.clone());
        let mut state = State::once_started(dir).unwrap_or_else(|error| {
            tracing::warn!(container = id, %error, "unreadable state");
            None
        });
        let mut shim = None;
        if let Some(state) = &mut state {
            shim = if state.is_of_this_boot() { state.shim.open()? } else { None };
            if shim.is_none() {
                // It may have ended in the very moment.
                if let Some(last) = State::read(dir).ok().flatten() {
                    *state = last;
                }
                if !matches!(state.phase, Phase::Exited { .. }) {
                    self.settle(dir, &record, state, NOT_FOUND);
                }
            }
        }
        let ended = matches!(state, Some(State { phase: Phase::Exited { .. }, .. }));
        let entry = Entry { record: Arc::new(record), state, ended: Arc::new(watch::Sender::new(ended)) };
        self.known().containers.insert(id.clone(), entry);
        match shim {
            Some(pidfd) => self.watch(&id, pidfd),
            None => Ok(()),
        }
    }
}
