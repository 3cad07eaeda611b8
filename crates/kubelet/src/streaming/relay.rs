//! Carries bytes between a client's channels and a session.

use std::{future::pending, sync::Arc};

use futures::{SinkExt as _, StreamExt as _};
use serde::Deserialize;

use super::{
    channels::{Channels, Incoming, Outgoing},
    outcome::Outcome,
};
use crate::{
    runtime::{Error, Runtime},
    session::{Input, Output, Resize, Session, Streams},
};

/// A size is some 30 bytes; what is longer and no size yet is thrown away.
const SIZE_BYTES: usize = 1 << 10;

/// What a client wants.
pub(super) struct Talk {
    pub(super) runtime: Arc<dyn Runtime>,
    /// Id of the container, or why there is none.
    pub(super) container: Result<String, String>,
    pub(super) streams: Streams,
    /// `None`: attach to the container itself.
    pub(super) command: Option<Vec<String>>,
}

/// Serves one session from its start to the telling of its outcome.
pub(super) async fn run(talk: Talk, mut channels: Channels) {
    let id = match &talk.container {
        Ok(id) => id,
        // So a proxy puts it that could not upgrade its own connection.
        Err(why) => return channels.finish(&Outcome::Failed(format!("unable to upgrade connection: {why}"))).await,
    };
    let ended = match open(&talk, id).await {
        Ok(session) => carry(session, &mut channels).await,
        Err(error) => Err(error),
    };
    let outcome = match (ended, talk.command) {
        (Ok(exit_code), Some(command)) if exit_code != 0 => Outcome::Exited { command, exit_code },
        (Ok(_), _) => Outcome::Success,
        (Err(error), Some(_)) => Outcome::Failed(format!("error executing command in container: {}", chain(&error))),
        (Err(error), None) => Outcome::Failed(format!("error attaching to container: {}", chain(&error))),
    };
    channels.finish(&outcome).await;
}

async fn open(talk: &Talk, id: &str) -> Result<Session, Error> {
    match &talk.command {
        Some(command) => talk.runtime.exec_session(id, command, talk.streams).await,
        None => talk.runtime.attach(id, talk.streams).await,
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    windlass_oci::error::chain(error)
}

async fn carry(session: Session, channels: &mut Channels) -> Result<i32, Error> {
    let Session { stdin, stdout, stderr, resize, end } = session;
    let outputs = async { tokio::join!(pass(stdout, &channels.stdout), pass(stderr, &channels.stderr)) };
    let ended = async { tokio::join!(end, outputs).0 };
    tokio::select! {
        biased;
        ended = ended => ended,
        never = feed(channels.stdin.take(), stdin) => never,
        never = follow_size(channels.resize.take(), resize) => never,
    }
}

/// Passes output on until its end; what nobody asked for, or takes any more, is thrown away.
async fn pass(from: Option<Output>, to: &Option<Outgoing>) {
    let Some(mut from) = from else { return };
    let mut is_taken = true;
    while let Some(Ok(bytes)) = from.next().await {
        if let Some(to) = to.as_ref().filter(|_| is_taken) {
            is_taken = to.write(bytes).await;
        }
    }
}

/// Passes input on until its end, which ends the container's or command's, but never the session.
async fn feed<T>(from: Option<Incoming>, to: Option<Input>) -> T {
    if let (Some(mut from), Some(mut to)) = (from, to) {
        while let Some(bytes) = from.read().await {
            if to.send(bytes).await.is_err() {
                break;
            }
        }
        drop(to);
        // What is sent all the same must not hold the connection up.
        while from.read().await.is_some() {}
    }
    pending().await
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Size {
    width: u16,
    height: u16,
}

async fn follow_size<T>(from: Option<Incoming>, resize: Option<Resize>) -> T {
    if let Some(mut from) = from {
        let mut text = Vec::new();
        while let Some(bytes) = from.read().await {
            text.extend_from_slice(&bytes);
            for Size { width, height } in sizes(&mut text) {
                if let Some(Err(error)) = resize.as_ref().map(|resize| resize(width, height)) {
                    tracing::debug!(%error, "resizing a terminal");
                }
            }
        }
    }
    pending().await
}

/// Takes the complete sizes out of the text.
fn sizes(text: &mut Vec<u8>) -> Vec<Size> {
    let mut all = serde_json::Deserializer::from_slice(text).into_iter::<Size>();
    let mut found = Vec::new();
    while let Some(Ok(size)) = all.next() {
        found.push(size);
    }
    let taken = all.byte_offset();
    text.drain(..taken);
    if text.len() > SIZE_BYTES {
        text.clear();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_come_in_any_pieces() {
        let mut text = br#"{"Width":80,"Height":24}
            {"Width":1"#
            .to_vec();
        let found = sizes(&mut text);
        assert_eq!(found.iter().map(|size| (size.width, size.height)).collect::<Vec<_>>(), [(80, 24)]);
        text.extend_from_slice(br#"00,"Height":40}"#);
        let found = sizes(&mut text);
        assert_eq!(found.iter().map(|size| (size.width, size.height)).collect::<Vec<_>>(), [(100, 40)]);
        let mut long = vec![b'{'; SIZE_BYTES + 1];
        assert!(sizes(&mut long).is_empty() && long.is_empty());
    }
}
