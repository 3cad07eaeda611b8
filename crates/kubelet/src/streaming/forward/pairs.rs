//! Puts a connection's two streams together.

use std::collections::HashMap;

use windlass_spdy::Stream;

/// The two streams of one connection.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) port: u16,
    pub(super) data: Stream,
    pub(super) error: Stream,
}

/// Streams whose other half has not come yet, by the client's number for the connection.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    waiting: HashMap<String, Half>,
}

#[derive(Debug)]
struct Half {
    stream: Stream,
    is_data: bool,
    port: u16,
}

impl Pairs {
    /// Takes a stream, and gives the pair that it makes whole. What cannot be understood is dropped, which its client notices.
    pub(super) fn add(&mut self, stream: Stream, most: usize) -> Option<Pair> {
        let header = |name: &str| stream.headers.get(name).unwrap_or_default();
        let port = header("port").parse::<u16>().ok().filter(|port| *port > 0);
        let is_data = match header("streamtype") {
            "data" => Some(true),
            "error" => Some(false),
            _ => None,
        };
        let ((Some(port), Some(is_data)), id) = ((port, is_data), header("requestid").to_owned()) else {
            tracing::debug!(headers = ?stream.headers, "a stream that forwards nothing");
            return None;
        };
        match self.waiting.remove(&id) {
            Some(other) if other.is_data != is_data && other.port == port => {
                let (data, error) = if is_data { (stream, other.stream) } else { (other.stream, stream) };
                Some(Pair { port, data, error })
            }
            _ if self.waiting.len() >= most => None,
            _ => {
                self.waiting.insert(id, Half { stream, is_data, port });
                None
            }
        }
    }
}
