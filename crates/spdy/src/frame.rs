//! Frames as they are on the wire.

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::Error;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;

const VERSION: u16 = 3;
const FLAG_FIN: u8 = 1;

/// Control frames carry headers and numbers.
const MAX_CONTROL: usize = 64 << 10;

/// Data is passed on in pieces: a frame may be 16 MiB long.
pub(crate) const PIECE: usize = 32 << 10;

/// Why a stream is reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reset {
    Refused = 3,
    Cancel = 5,
}

/// What comes in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    SynStream {
        id: u32,
        fin: bool,
        block: Vec<u8>,
    },
    SynReply {
        id: u32,
        fin: bool,
        block: Vec<u8>,
    },
    Headers {
        id: u32,
        fin: bool,
        block: Vec<u8>,
    },
    Reset {
        id: u32,
    },
    Ping {
        id: u32,
    },
    GoAway,
    Data {
        id: u32,
        fin: bool,
        bytes: Bytes,
    },
    /// Of a kind that needs no answer.
    Other,
}

/// Reads frames; long data frames in pieces.
pub(crate) struct FrameReader<R> {
    from: R,
    /// A data frame of which something is left.
    open: Option<Open>,
}

struct Open {
    id: u32,
    fin: bool,
    left: usize,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(crate) fn new(from: R) -> Self {
        Self { from, open: None }
    }

    /// The next frame; `None` at an orderly end.
    pub(crate) async fn next(&mut self) -> Result<Option<Frame>, Error> {
        if let Some(open) = self.open.take() {
            return self.data(open).await.map(Some);
        }
        let mut head = [0; 8];
        let first = self.from.read(&mut head).await?;
        if first == 0 {
            return Ok(None);
        }
        self.from.read_exact(&mut head[first..]).await?;
        let [a, b, c, d, flags, length @ ..] = head;
        let fin = flags & FLAG_FIN != 0;
        let left = usize::from(length[0]) << 16 | usize::from(length[1]) << 8 | usize::from(length[2]);
        if a & 0x80 == 0 {
            let id = u32::from_be_bytes([a, b, c, d]);
            return self.data(Open { id, fin, left }).await.map(Some);
        }
        if u16::from_be_bytes([a & 0x7f, b]) != VERSION {
            return Err(Error::Protocol("version is not 3"));
        }
        if left > MAX_CONTROL {
            return Err(Error::Protocol("control frame too long"));
        }
        let mut body = vec![0; left];
        self.from.read_exact(&mut body).await?;
        control(u16::from_be_bytes([c, d]), fin, &body).map(Some)
    }

    /// Throws away what comes, frames or not, until the other side closes.
    pub(crate) async fn drain(&mut self) {
        let mut scratch = vec![0; PIECE];
        while self.from.read(&mut scratch).await.is_ok_and(|read| read > 0) {}
    }

    async fn data(&mut self, open: Open) -> Result<Frame, Error> {
        let Open { id, fin, left } = open;
        let mut bytes = vec![0; left.min(PIECE)];
        // What is there is passed on at once: the rest of a frame may take its time.
        let mut read = 0;
        if left > 0 {
            read = self.from.read(&mut bytes).await?;
            if read == 0 {
                return Err(Error::Protocol("data frame cut short"));
            }
        }
        bytes.truncate(read);
        let left = left - read;
        if left > 0 {
            self.open = Some(Open { id, fin, left });
        }
        Ok(Frame::Data { id, fin: fin && left == 0, bytes: bytes.into() })
    }
}

fn control(kind: u16, fin: bool, body: &[u8]) -> Result<Frame, Error> {
    let short = Error::Protocol("control frame cut short");
    let number = || body.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes));
    // A stream's id has 31 bits.
    let id = number().map(|id| id & 0x7fff_ffff);
    let block = |start: usize| body.get(start..).map(<[u8]>::to_vec);
    let frame = match kind {
        // Another id and a priority stand before the block.
        SYN_STREAM => id.zip(block(10)).map(|(id, block)| Frame::SynStream { id, fin, block }),
        SYN_REPLY => id.zip(block(4)).map(|(id, block)| Frame::SynReply { id, fin, block }),
        HEADERS => id.zip(block(4)).map(|(id, block)| Frame::Headers { id, fin, block }),
        RST_STREAM => id.map(|id| Frame::Reset { id }),
        PING => number().map(|id| Frame::Ping { id }),
        GOAWAY => Some(Frame::GoAway),
        _ => Some(Frame::Other),
    };
    frame.ok_or(short)
}

/// Writes the head of a control frame.
fn head(kind: u16, fin: bool, length: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&(0x8000 | VERSION).to_be_bytes());
    out.extend_from_slice(&kind.to_be_bytes());
    let length = u32::try_from(length).unwrap_or(0);
    out.extend_from_slice(&(u32::from(fin) << 24 | length).to_be_bytes());
}

pub(crate) fn syn_stream(id: u32, block: &[u8], out: &mut Vec<u8>) {
    head(SYN_STREAM, false, block.len() + 10, out);
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(&[0; 6]);
    out.extend_from_slice(block);
}

pub(crate) fn syn_reply(id: u32, block: &[u8], out: &mut Vec<u8>) {
    head(SYN_REPLY, false, block.len() + 4, out);
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(block);
}

pub(crate) fn reset(id: u32, reset: Reset, out: &mut Vec<u8>) {
    head(RST_STREAM, false, 8, out);
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(&(reset as u32).to_be_bytes());
}

pub(crate) fn ping(id: u32, out: &mut Vec<u8>) {
    head(PING, false, 4, out);
    out.extend_from_slice(&id.to_be_bytes());
}

/// The head of a data frame; its bytes, at most [`PIECE`] of them, follow.
pub(crate) fn data(id: u32, fin: bool, length: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&id.to_be_bytes());
    let length = u32::try_from(length).unwrap_or(0);
    out.extend_from_slice(&(u32::from(fin) << 24 | length).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(bytes: &[u8]) -> (Vec<Frame>, Option<Error>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (mut reader, mut frames) = (FrameReader::new(bytes), Vec::new());
            loop {
                match reader.next().await {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => return (frames, None),
                    Err(error) => return (frames, Some(error)),
                }
            }
        })
    }

    #[test]
    fn what_is_written_can_be_read() {
        let mut bytes = Vec::new();
        syn_stream(1, b"block", &mut bytes);
        syn_reply(2, b"reply", &mut bytes);
        data(1, true, 2, &mut bytes);
        bytes.extend_from_slice(b"hi");
        data(3, true, 0, &mut bytes);
        reset(1, Reset::Refused, &mut bytes);
        ping(7, &mut bytes);
        let (frames, error) = all(&bytes);
        assert!(error.is_none());
        assert_eq!(
            frames,
            [
                Frame::SynStream { id: 1, fin: false, block: b"block".to_vec() },
                Frame::SynReply { id: 2, fin: false, block: b"reply".to_vec() },
                Frame::Data { id: 1, fin: true, bytes: Bytes::from_static(b"hi") },
                Frame::Data { id: 3, fin: true, bytes: Bytes::new() },
                Frame::Reset { id: 1 },
                Frame::Ping { id: 7 },
            ]
        );
    }

    #[test]
    fn long_data_comes_in_pieces_and_ends_once() {
        let mut bytes = Vec::new();
        data(1, true, PIECE * 2 + 1, &mut bytes);
        bytes.resize(bytes.len() + PIECE * 2 + 1, b'x');
        let lengths: Vec<_> = all(&bytes)
            .0
            .iter()
            .map(|frame| match frame {
                Frame::Data { fin, bytes, .. } => (*fin, bytes.len()),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(lengths, [(false, PIECE), (false, PIECE), (true, 1)]);
    }

    #[test]
    fn other_versions_and_long_control_frames_are_refused() {
        assert!(matches!(all(&[0x80, 2, 0, 1, 0, 0, 0, 0]).1, Some(Error::Protocol("version is not 3"))));
        assert!(matches!(all(&[0x80, 3, 0, 1, 0, 0xff, 0, 0]).1, Some(Error::Protocol("control frame too long"))));
        assert!(matches!(all(&[0x80, 3, 0, 6, 0, 0, 0, 1, 0]).1, Some(Error::Protocol("control frame cut short"))));
    }

    proptest! {
        #[test]
        fn any_bytes_are_frames_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = all(&bytes);
        }
    }
}
