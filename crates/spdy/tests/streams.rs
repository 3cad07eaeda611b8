//! Both ends of a connection, talking to each other.
#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test, that is how an expectation fails")]

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use windlass_spdy::{Connection, Error, Headers, Limits, Opener, accept, connect};

const LIMITS: Limits = Limits { streams: 2, idle: Duration::from_secs(60) };

/// A small pipe: what does not fit has to wait.
fn pipe() -> (DuplexStream, DuplexStream) {
    duplex(1024)
}

fn run<T>(test: impl AsyncFnOnce(Opener, Connection) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let (left, right) = pipe();
        let ((opener, client), (connection, server)) = (connect(left, LIMITS), accept(right, LIMITS));
        let driven = async {
            let (client, server) = tokio::join!(client, server);
            client.and(server)
        };
        let (outcome, driven) = tokio::join!(test(opener, connection), driven);
        driven.unwrap();
        outcome
    })
}

fn kind(name: &str) -> Headers {
    Headers::new([("streamType", name)])
}

#[test]
fn streams_carry_both_ways_and_close_by_halves() {
    run(async |mut opener, mut connection| {
        let mut ours = opener.open(kind("data")).await.unwrap();
        let mut theirs = connection.accept().await.unwrap();
        assert_eq!(theirs.headers.get("streamtype"), Some("data"));
        let long = Bytes::from(vec![b'x'; 300_000]);
        let sent = async {
            ours.writer.write(long.clone()).await.unwrap();
            ours.writer.close().await.unwrap();
            assert!(matches!(ours.writer.write(long.clone()).await, Err(Error::Closed)));
        };
        let received = async {
            let mut all = Vec::new();
            while let Some(bytes) = theirs.reader.read().await {
                all.extend_from_slice(&bytes);
            }
            all
        };
        assert_eq!(tokio::join!(sent, received).1, long);
        theirs.writer.write(Bytes::from_static(b"answer")).await.unwrap();
        assert_eq!(ours.reader.read().await.unwrap(), "answer");
        drop(theirs);
        drop(connection);
        // All that the server had to say is said.
        assert_eq!(ours.reader.read().await, None);
    });
}

#[test]
fn too_many_streams_are_refused_and_places_come_back() {
    run(async |mut opener, mut connection| {
        let first = opener.open(kind("1")).await.unwrap();
        let _second = opener.open(kind("2")).await.unwrap();
        let (held_1, _held_2) = (connection.accept().await.unwrap(), connection.accept().await.unwrap());
        let mut third = opener.open(kind("3")).await.unwrap();
        assert_eq!(third.reader.read().await, None, "refused");
        assert!(matches!(third.writer.write(Bytes::from_static(b"x")).await, Err(Error::Closed)));
        drop((first, held_1));
        let _fourth = opener.open(kind("4")).await.unwrap();
        assert_eq!(connection.accept().await.unwrap().headers, kind("4"));
    });
}

#[test]
fn a_reset_ends_a_stream_and_no_other() {
    run(async |mut opener, mut connection| {
        let (mut reset, kept) = (opener.open(kind("1")).await.unwrap(), opener.open(kind("2")).await.unwrap());
        let (mut theirs, mut other) = (connection.accept().await.unwrap(), connection.accept().await.unwrap());
        reset.writer.reset().await.unwrap();
        assert_eq!(theirs.reader.read().await, None);
        assert!(theirs.writer.write(Bytes::from_static(b"x")).await.is_err());
        kept.writer.write(Bytes::from_static(b"y")).await.unwrap();
        assert_eq!(other.reader.read().await.unwrap(), "y");
    });
}

#[test]
fn pings_are_answered_and_silence_ends_a_connection() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let (mut left, right) = pipe();
        let (connection, server) = accept(right, LIMITS);
        let client = async {
            let ping = [0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 9];
            left.write_all(&ping).await.unwrap();
            let mut answer = [0; 12];
            left.read_exact(&mut answer).await.unwrap();
            assert_eq!(answer, ping);
            left
        };
        let (_left, outcome) = tokio::join!(client, server);
        assert!(matches!(outcome, Err(Error::Idle)));
        drop(connection);
    });
}

#[test]
fn what_is_no_spdy_ends_the_connection() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let (mut left, right) = pipe();
        let (mut connection, server) = accept(right, LIMITS);
        left.write_all(b"\x80\x02GET / HTTP/1.1\r\n\r\n").await.unwrap();
        assert!(matches!(server.await, Err(Error::Protocol(_))));
        assert!(connection.accept().await.is_none());
    });
}
