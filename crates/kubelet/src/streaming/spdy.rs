//! Sessions over SPDY: a stream for each channel, told apart by a header.

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use windlass_spdy::{Connection, Stream};

use super::{
    LIMITS, OPEN_TIME,
    channels::{Channels, Incoming, Outgoing},
    relay::{self, Talk},
};
use crate::session::Streams;

/// Serves a session, and carries the connection until all is sent.
pub(super) async fn serve(upgraded: Upgraded, protocol: &str, talk: Talk) {
    let (connection, driver) = windlass_spdy::accept(TokioIo::new(upgraded), LIMITS);
    let mut driver = std::pin::pin!(driver);
    let session = async {
        let mut connection = connection;
        let collected = tokio::time::timeout(OPEN_TIME, collect(&mut connection, protocol, talk.streams)).await;
        match collected {
            Ok(Some(channels)) => relay::run(talk, channels).await,
            Ok(None) => {}
            Err(_) => tracing::debug!("the client did not open its streams in time"),
        }
    };
    tokio::select! {
        ended = &mut driver => return tracing::debug!(?ended, "connection ended before its session"),
        () = session => {}
    }
    if let Err(error) = driver.await {
        tracing::debug!(%error, "connection ended");
    }
}

/// Waits for the streams that the query announced; `None` when the connection ends before.
async fn collect(connection: &mut Connection, protocol: &str, wanted: Streams) -> Option<Channels> {
    // Resizing came with the third version, a status with the fourth.
    let (sizes, with_status) = match protocol {
        "v4.channel.k8s.io" | "v5.channel.k8s.io" => (wanted.tty, true),
        "v3.channel.k8s.io" => (wanted.tty, false),
        _ => (false, false),
    };
    let (mut stdin, mut stdout, mut stderr, mut error, mut resize) = (None, None, None, None, None);
    let missing = |wanted: bool, stream: &Option<Stream>| wanted && stream.is_none();
    while error.is_none()
        || missing(wanted.stdin, &stdin)
        || missing(wanted.stdout, &stdout)
        || missing(wanted.stderr, &stderr)
        || missing(sizes, &resize)
    {
        let stream = connection.accept().await?;
        let place = match stream.headers.get("streamtype") {
            Some("error") => &mut error,
            Some("stdin") => &mut stdin,
            Some("stdout") => &mut stdout,
            Some("stderr") => &mut stderr,
            Some("resize") => &mut resize,
            other => {
                tracing::debug!(?other, "unexpected stream type");
                continue;
            }
        };
        *place = Some(stream);
    }
    let incoming = |stream: Option<Stream>| stream.map(|stream| Incoming::Spdy(stream.reader));
    let outgoing = |stream: Option<Stream>| stream.map(|stream| Outgoing::Spdy(stream.writer));
    Some(Channels {
        stdin: incoming(stdin),
        resize: incoming(resize),
        stdout: outgoing(stdout),
        stderr: outgoing(stderr),
        error: outgoing(error)?,
        with_status,
    })
}
