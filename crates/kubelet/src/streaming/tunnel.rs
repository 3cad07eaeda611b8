//! A byte stream through a WebSocket, whose messages carry pieces of it: port forwarding tunnels SPDY that way.

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

/// What may be under way in either direction.
const BUFFER: usize = 64 << 10;

/// A byte stream, and what carries it through the socket until either side closes.
pub(super) fn open(socket: WebSocket) -> (DuplexStream, impl Future<Output = ()> + Send) {
    let (ours, theirs) = duplex(BUFFER);
    (ours, carry(socket, theirs))
}

async fn carry(socket: WebSocket, bytes: DuplexStream) {
    let (mut sink, mut stream) = socket.split();
    let (mut read, mut write) = tokio::io::split(bytes);
    let outward = async {
        let mut buffer = vec![0; BUFFER / 2];
        while let Ok(count @ 1..) = read.read(&mut buffer).await {
            if sink.send(Message::Binary(Bytes::copy_from_slice(&buffer[..count]))).await.is_err() {
                return;
            }
        }
        let frame = CloseFrame { code: close_code::NORMAL, reason: "".into() };
        // The client may be gone already.
        let _ = sink.send(Message::Close(Some(frame))).await;
    };
    let inward = async {
        while let Some(Ok(message)) = stream.next().await {
            let bytes = match message {
                Message::Binary(bytes) => bytes,
                Message::Close(_) => break,
                Message::Text(_) | Message::Ping(_) | Message::Pong(_) => continue,
            };
            if write.write_all(&bytes).await.is_err() {
                break;
            }
        }
        // The end of the stream, for who reads at the other side.
        let _ = write.shutdown().await;
    };
    tokio::select! {
        () = outward => {}
        () = inward => {}
    }
}
