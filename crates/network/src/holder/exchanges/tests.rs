//! What both sides say, cut anywhere, and whether the connection rests afterwards.

use super::*;

/// A turn: the client (`>`) or the server (`<`) says something; afterwards it rests, or does not, or is not listened to any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    Rests,
    Waits,
    Deaf,
}
use After::{Deaf as NotHeard, Rests, Waits};

fn state(exchanges: &Exchanges) -> After {
    match (exchanges.is_heard(), exchanges.is_at_rest()) {
        (true, true) => Rests,
        (true, false) => Waits,
        (false, _) => NotHeard,
    }
}

fn check(turns: &[(&str, After)]) {
    // Whole, and byte by byte: where a packet ends means nothing.
    for size in [usize::MAX, 1, 7] {
        let mut exchanges = Exchanges::default();
        assert_eq!(state(&exchanges), Waits);
        for (turn, expected) in turns {
            let (side, said) = turn.split_at(1);
            for piece in said.as_bytes().chunks(size) {
                if side == ">" { exchanges.client_said(piece) } else { exchanges.server_said(piece) }
            }
            assert_eq!(state(&exchanges), *expected, "after {turn:?} in pieces of {size}");
        }
    }
}

const GET: &str = ">GET / HTTP/1.1\r\nHost: web\r\n\r\n";

#[test]
fn it_rests_between_exchanges() {
    check(&[
        (GET, Waits),
        ("<HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", Waits),
        ("<lo", Rests),
        (">POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\n{", Waits),
        (">}", Waits),
        ("<HTTP/1.1 204 No Content\r\n\r\n", Rests),
        (">PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nSum: 1\r\n", Waits),
        ("<HTTP/1.1 100 Continue\r\n\r\n", Waits),
        (">\r\n", Waits),
        ("<HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n\n\r\n", Waits),
        ("<0\r\n\r\n", Rests),
        (">HEAD / HTTP/1.1\r\n\r\n", Waits),
        ("<HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", Rests),
        (">GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", Waits),
        ("<HTTP/1.1 304 Not Modified\r\n\r\n", Rests),
    ]);
}

#[test]
fn requests_sent_ahead_are_waited_for() {
    let answer = "<HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    check(&[
        (">GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\nGET", Waits),
        (answer, Waits),
        (answer, Waits),
        ("> / HTTP/1.1\r\n\r\n", Waits),
        (answer, Rests),
    ]);
}

#[test]
fn what_is_not_plainly_http_is_not_heard() {
    let ended = "<HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    for turns in [
        &[("<220 mail.example ESMTP\r\n", Waits), (">EHLO web\r\n\r\n", NotHeard)][..],
        &[("<220 mail.example ESMTP\r\n\r\n", NotHeard)],
        &[(">\u{16}\u{3}\u{1}\u{2}\r\n\r\n", NotHeard)],
        &[(">PRI * HTTP/2.0\r\n\r\n", NotHeard)],
        &[(">CONNECT web:443 HTTP/1.1\r\n\r\n", NotHeard)],
        &[(">GET / HTTP/1.0\r\n\r\n", NotHeard)],
        &[(">GET / HTTP/1.1\r\nConnection: TE, Close\r\n\r\n", NotHeard)],
        &[(GET, Waits), (ended, NotHeard)],
        &[(GET, Waits), ("<HTTP/1.1 200 OK\r\n\r\n", NotHeard)],
        &[
            (">GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", Waits),
            ("<HTTP/1.1 101 Done\r\n\r\n", NotHeard),
        ],
        &[(">POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", NotHeard)],
        &[(">POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", NotHeard)],
        &[(">POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", NotHeard)],
        &[(">POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n", NotHeard)],
    ] {
        check(turns);
    }
}

#[test]
fn a_head_without_end_is_not_collected_for_ever() {
    let mut exchanges = Exchanges::default();
    for _ in 0..=MAX_HEAD_BYTES / 1024 {
        exchanges.client_said(&[b'a'; 1024]);
    }
    assert_eq!(state(&exchanges), NotHeard);
    assert_eq!(exchanges.requests.begun.capacity(), 0);
}
