//! Carries bytes between a client's channel and a connection to a pod.

use std::{future::pending, io};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::streaming::channels::{Incoming, Outgoing};

/// Read at once.
const PIECE: usize = 32 << 10;

/// Carries a connection until the pod has said all, or the client is gone.
///
/// # Errors
/// When the pod resets the connection.
pub(super) async fn carry(
    mut socket: TcpStream,
    mut incoming: Incoming,
    outgoing: &mut Outgoing,
    is_reset: impl Fn() -> bool,
) -> io::Result<()> {
    let _ = socket.set_nodelay(true);
    let (mut read, mut write) = socket.split();
    let inward = async {
        while let Some(bytes) = incoming.read().await {
            if write.write_all(&bytes).await.is_err() {
                // The other direction tells what happened.
                break;
            }
        }
        if is_reset() {
            return Ok(());
        }
        // The client has said all, and waits for the rest of the answer.
        let _ = write.shutdown().await;
        while incoming.read().await.is_some() {}
        pending().await
    };
    let outward = async {
        let mut buffer = vec![0; PIECE];
        loop {
            match read.read(&mut buffer).await? {
                0 => return Ok(()),
                count => {
                    if !outgoing.write(Bytes::copy_from_slice(&buffer[..count])).await {
                        return Ok(());
                    }
                }
            }
        }
    };
    tokio::select! {
        ended = inward => ended,
        ended = outward => ended,
    }
}
