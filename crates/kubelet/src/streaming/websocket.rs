//! Sessions over WebSocket: the first byte of a message says which channel it is of.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::{BufMut as _, Bytes, BytesMut};
use futures::{
    SinkExt as _, StreamExt as _,
    stream::{SplitSink, SplitStream},
};
use tokio::sync::mpsc;

use super::{
    IDLE,
    channels::{Channels, Incoming, Outgoing},
    idle::Pulse,
    relay::{self, Talk},
};
use crate::session::Streams;

pub(super) const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// Its message names a channel that the client has closed; from `v5.channel.k8s.io` on.
const CLOSE: u8 = 255;

/// Messages that wait in either direction.
const QUEUE: usize = 16;

/// How long the client may take to close after the last word.
const LINGER: Duration = Duration::from_secs(5);

/// Serves a session, and carries the connection until all is sent.
pub(super) async fn serve(socket: WebSocket, protocol: &str, talk: Talk) {
    let (messages, queue) = mpsc::channel(QUEUE);
    let (channels, inlets) = open(protocol, talk.streams, &messages);
    let first = if talk.streams.stdout {
        STDOUT
    } else if talk.streams.stderr {
        STDERR
    } else {
        ERROR
    };
    // As upstream: an empty message says that the connection stands.
    let _ = messages.send((first, Bytes::new())).await;
    drop(messages);
    let session = relay::run(talk, channels);
    carry(socket, Format::of(protocol), inlets, queue, session).await;
}

/// The channels of a session, and where what comes for them goes.
fn open(protocol: &str, wanted: Streams, messages: &mpsc::Sender<(u8, Bytes)>) -> (Channels, Vec<Inlet>) {
    let mut inlets = Vec::new();
    let mut incoming = |wanted: bool, channel: u8| {
        wanted.then(|| {
            let (inlet, receiver) = Inlet::new(channel);
            inlets.push(inlet);
            Incoming::WebSocket(receiver)
        })
    };
    let outgoing = |channel| Outgoing::WebSocket { channel, messages: messages.clone() };
    let channels = Channels {
        stdin: incoming(wanted.stdin, STDIN),
        resize: incoming(wanted.tty, RESIZE),
        stdout: wanted.stdout.then(|| outgoing(STDOUT)),
        stderr: wanted.stderr.then(|| outgoing(STDERR)),
        error: outgoing(ERROR),
        with_status: protocol.starts_with("v4.") || protocol.starts_with("v5."),
    };
    (channels, inlets)
}

/// Where what comes on a channel goes.
#[derive(Debug)]
pub(super) struct Inlet {
    channel: u8,
    /// `None` once the client has closed it.
    queue: Option<mpsc::Sender<Bytes>>,
}

impl Inlet {
    pub(super) fn new(channel: u8) -> (Self, mpsc::Receiver<Bytes>) {
        let (queue, receiver) = mpsc::channel(QUEUE);
        (Self { channel, queue: Some(queue) }, receiver)
    }
}

/// How messages are written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Format {
    base64: bool,
    /// A client can close a single channel.
    closes: bool,
}

impl Format {
    pub(super) fn of(protocol: &str) -> Self {
        Self { base64: protocol.contains("base64"), closes: protocol.starts_with("v5.") }
    }

    fn encode(self, channel: u8, bytes: &[u8]) -> Message {
        if self.base64 {
            let digit = char::from(b'0' + channel);
            return Message::Text(format!("{digit}{}", STANDARD.encode(bytes)).into());
        }
        let mut message = BytesMut::with_capacity(1 + bytes.len());
        message.put_u8(channel);
        message.put_slice(bytes);
        Message::Binary(message.freeze())
    }

    /// The channel and the bytes of a message; `None` for what is no such message.
    fn decode(self, message: Message) -> Option<(u8, Bytes)> {
        let bytes = match message {
            Message::Binary(bytes) => bytes,
            Message::Text(text) => text.into(),
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => return None,
        };
        let channel = *bytes.first()?;
        if self.base64 {
            return Some((channel.checked_sub(b'0')?, STANDARD.decode(&bytes[1..]).ok()?.into()));
        }
        Some((channel, bytes.slice(1..)))
    }
}

/// Carries a connection while `session` lasts, and until what it said is sent; ends early when the client is gone.
pub(super) async fn carry(
    socket: WebSocket,
    format: Format,
    mut inlets: Vec<Inlet>,
    queue: mpsc::Receiver<(u8, Bytes)>,
    session: impl Future<Output = ()>,
) {
    let pulse = Pulse::default();
    let (mut sink, mut stream) = socket.split();
    let sending = async { tokio::join!(session, send(&mut sink, format, queue, &pulse)).1 };
    let finished = tokio::select! {
        () = receive(&mut stream, format, &mut inlets, &pulse) => false,
        sent = sending => sent,
        () = pulse.silence(IDLE) => false,
    };
    if finished {
        let frame = CloseFrame { code: close_code::NORMAL, reason: "".into() };
        if sink.send(Message::Close(Some(frame))).await.is_ok() {
            let closed = async { while let Some(Ok(_)) = stream.next().await {} };
            let _ = tokio::time::timeout(LINGER, closed).await;
        }
    }
}

/// Sends what is said until all is said; false when the client is gone.
async fn send(
    sink: &mut SplitSink<WebSocket, Message>,
    format: Format,
    mut queue: mpsc::Receiver<(u8, Bytes)>,
    pulse: &Pulse,
) -> bool {
    while let Some((channel, bytes)) = queue.recv().await {
        pulse.beat();
        if sink.send(format.encode(channel, &bytes)).await.is_err() {
            return false;
        }
    }
    true
}

/// Leads what comes to its channel, until the client goes.
async fn receive(stream: &mut SplitStream<WebSocket>, format: Format, inlets: &mut [Inlet], pulse: &Pulse) {
    while let Some(Ok(message)) = stream.next().await {
        pulse.beat();
        if matches!(message, Message::Close(_)) {
            return;
        }
        let Some((channel, bytes)) = format.decode(message) else { continue };
        if channel == CLOSE && format.closes {
            inlets.iter_mut().filter(|inlet| Some(&inlet.channel) == bytes.first()).for_each(|inlet| inlet.queue = None);
        } else if let Some(inlet) = inlets.iter().find(|inlet| inlet.channel == channel)
            && let Some(queue) = inlet.queue.as_ref().filter(|_| !bytes.is_empty())
        {
            // Whoever does not listen any more misses nothing.
            let _ = queue.send(bytes).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_written_in_two_ways() {
        let (binary, base64) = (Format::of("v4.channel.k8s.io"), Format::of("v4.base64.channel.k8s.io"));
        assert_eq!(binary.encode(1, b"hi"), Message::Binary(Bytes::from_static(b"\x01hi")));
        assert_eq!(base64.encode(1, b"hi"), Message::Text("1aGk=".into()));
        for format in [binary, base64] {
            assert_eq!(format.decode(format.encode(2, b"x")), Some((2, Bytes::from_static(b"x"))));
            assert_eq!(format.decode(Message::Binary(Bytes::new())), None);
        }
        assert_eq!(base64.decode(Message::Text("0?".into())), None);
    }
}
