//! The channels of a session, whatever they are carried over.

use bytes::Bytes;
use tokio::sync::mpsc;

use super::outcome::Outcome;

/// What the client sends on one channel.
#[derive(Debug)]
pub(super) enum Incoming {
    Spdy(windlass_spdy::Reader),
    WebSocket(mpsc::Receiver<Bytes>),
}

impl Incoming {
    /// The next bytes; `None` at the channel's end.
    pub(super) async fn read(&mut self) -> Option<Bytes> {
        match self {
            Self::Spdy(reader) => reader.read().await,
            Self::WebSocket(queue) => queue.recv().await,
        }
    }
}

/// What the client is sent on one channel.
#[derive(Debug)]
pub(super) enum Outgoing {
    Spdy(windlass_spdy::Writer),
    WebSocket { channel: u8, messages: mpsc::Sender<(u8, Bytes)> },
}

impl Outgoing {
    /// Sends bytes; false when nobody takes them any more.
    pub(super) async fn write(&self, bytes: Bytes) -> bool {
        match self {
            Self::Spdy(writer) => writer.write(bytes).await.is_ok(),
            Self::WebSocket { channel, messages } => messages.send((*channel, bytes)).await.is_ok(),
        }
    }

    /// Says that all is said, where the protocol can.
    pub(super) async fn close(&mut self) {
        if let Self::Spdy(writer) = self {
            // The connection is gone otherwise, which is as good.
            let _ = writer.close().await;
        }
    }
}

/// All channels of a session; those that were not asked for are `None`.
#[derive(Debug)]
pub(super) struct Channels {
    pub(super) stdin: Option<Incoming>,
    pub(super) resize: Option<Incoming>,
    pub(super) stdout: Option<Outgoing>,
    pub(super) stderr: Option<Outgoing>,
    pub(super) error: Outgoing,
    /// The outcome is a `Status`, not plain text.
    pub(super) with_status: bool,
}

impl Channels {
    /// Tells the outcome, and that it was the last word.
    pub(super) async fn finish(mut self, outcome: &Outcome) {
        for output in [&mut self.stdout, &mut self.stderr].into_iter().flatten() {
            output.close().await;
        }
        let text = if self.with_status { outcome.status().to_string() } else { outcome.text() };
        if !text.is_empty() {
            self.error.write(text.into()).await;
        }
        self.error.close().await;
    }
}
