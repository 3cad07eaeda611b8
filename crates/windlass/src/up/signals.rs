//! What the main process is asked for by signals, from its first moment on.

use anyhow::{Context as _, Result};
use nix::sys::signal::{SigSet, Signal};
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// SIGINT or SIGTERM: end the machine.
    Stop,
    /// SIGHUP: go on as the binary that is on the disk now.
    Upgrade,
}

/// Signals that wait for us.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Stream,
    terminate: Stream,
    hangup: Stream,
}

/// Lets signals wait until somebody listens: one that ended the process half-way would leave a half-made machine behind.
///
/// To be called before there is a second thread. Programs that are started meanwhile set their own mask.
pub(crate) fn block() -> Result<()> {
    ours().thread_block().context("cannot block signals")
}

fn ours() -> SigSet {
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect()
}

impl Signals {
    /// Listens, in the thread that [`block`] was called in, inside a runtime.
    pub(crate) fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen to signals");
        let signals = Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        };
        ours().thread_unblock().context("cannot unblock signals")?;
        Ok(signals)
    }

    pub(crate) async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.hangup.recv() => Asked::Upgrade,
        }
    }

    /// Waits for one that asks for the end.
    pub(crate) async fn stop(&mut self) {
        while self.next().await != Asked::Stop {}
    }
}
