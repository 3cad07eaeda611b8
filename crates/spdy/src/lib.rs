//! SPDY/3.1, as far as Kubernetes clients speak it: streams with headers, both ways, over one connection.
//!
//! kubectl's `exec`, `attach`, `cp` and `port-forward` open a stream for each of standard input, output, errors and so on.
//! There is no flow control by windows, since these clients have none either: a stream that is not read holds the whole
//! connection up, which is what TCP then tells the other side.
//!
//! <https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/>

mod connection;
mod dictionary;
mod frame;
mod headers;
mod stream;

use std::time::Duration;

pub use connection::{Connection, Opener, accept, connect};
pub use headers::Headers;
pub use stream::{Reader, ResetWatch, Stream, Writer};

/// What a connection may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Streams that are open at a time; further ones are refused.
    pub streams: usize,
    /// A connection on which nothing comes or goes for that long is closed.
    pub idle: Duration,
}

/// Why a connection or a stream came to an end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket failed.
    #[error("connection failed")]
    Io(#[from] std::io::Error),
    /// What the other side sent is not SPDY/3.1.
    #[error("protocol error: {0}")]
    Protocol(&'static str),
    /// Nothing came or went for too long.
    #[error("nothing came or went for too long")]
    Idle,
    /// The stream, or its connection, was closed.
    #[error("stream closed")]
    Closed,
}
